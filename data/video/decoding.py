"""Decodes films: the frames that FFmpeg's command line would give, bit for bit, as a stream."""

import contextlib
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Self

import av
import numpy as np

from data.arguments import user_path
from data.errors import InputError
from data.video.graphs import UPRIGHT, FrameGraph
from data.video.opening import MAX_PIXELS, open_container, start_of, video_stream
from data.video.sampling import FilmFacts, Sampling

# Frames a second of a film that does not state them.
_USUAL_RATE = Fraction(25)
# Seconds that a film may end before its declared end: that of its sound, perhaps.
_EARLY = 1.0
# Seconds without a picture from which on a time is taken for damage.
_LEAP = 3600


class Video:
    """A film, opened to be decoded once; a context manager.

    Attributes:
      path: the file.
      width, height: of a frame as it is shown, after rotation.
      source_rate: whole frames a second.
      duration: seconds as the sampling of the published features knows them: -1 if the container
        states no number of frames, as WebM and Matroska.
      seconds: the best known length, for progress; 0 if unknown.
      warnings: sentences about what is wrong with the film, complete after `rows`.
    """

    def __init__(self, path: str | os.PathLike, max_pixels: int = MAX_PIXELS):
        """Opens a film and decodes its first frame.

        Args:
          max_pixels: the most pixels of a frame; a film of larger ones is refused before memory is
            taken.

        Raises:
          InputError: it is no film that can be decoded.
        """
        self.path = user_path(path, "the film")
        self.warnings: list[str] = []
        self._max_pixels = max_pixels
        self._is_read = False
        # Seconds up to which the film is read, and the damage on the way: what, how often, where.
        self._end = Fraction(0)
        self._damage, self._num_damaged, self._first_damage = "", 0, 0.0
        self._container = open_container(self.path, max_pixels)
        try:
            self._stream = video_stream(self._container, self.path, max_pixels)
            self._decoded = self._decode()
            self._first = self._decode_first()
            self._describe()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        """Returns the film."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the file."""
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Yields the decoded frames; what is damaged is passed over, as by the command line."""
        try:
            for packet in self._container.demux(self._stream):
                if packet.has_sidedata("encryption_info"):
                    self._damage = "it is encrypted"
                    self._warn(f"{self._until()}: {self._damage} there")
                    return
                try:
                    yield from packet.decode()
                except av.error.FFmpegError as error:
                    if not self._num_damaged:
                        self._damage, self._first_damage = str(error.strerror), float(self._end)
                    self._num_damaged += 1
        except av.error.FFmpegError as error:
            self._warn(f"{self._until()}: then {error.strerror}")

    def _decode_first(self) -> av.VideoFrame:
        first = next(self._decoded, None)
        if first is None:
            raise InputError(
                f"{self.path}: no frame can be decoded ({self._damage or 'there is none'}): "
                "replace it by a copy that plays"
            )
        return first

    def _describe(self) -> None:
        """Sets the attributes; see the class."""
        stream = self._stream
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        self._start = start_of(self._container, self._time_base)
        self._rotation = self._first.rotation % 360
        size = self._first.width, self._first.height
        self.width, self.height = size if self._rotation not in (90, 270) else size[::-1]
        if self._rotation not in UPRIGHT:
            self._warn(f"is turned by {self._rotation} degrees: its frames are left as they are")
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            self._warn(f"states no frame rate: taken for {_USUAL_RATE} frames a second")
        self._rate = rate or _USUAL_RATE
        self.source_rate = math.floor(self._rate)
        stated = float((stream.duration or 0) * self._time_base)
        # In microseconds, as `ffprobe` prints it.
        self.duration = round(stated, 6) if stated > 0 and stream.frames > 0 else -1.0
        self.seconds = (
            stated if stated > 0 else max(self._container.duration or 0, 0) / av.time_base
        )

    def rows(self, samplings: Sequence[Sampling]) -> Iterator[tuple[int, np.ndarray]]:
        """Decodes the film once and yields the rows of all samplings as soon as they are complete.

        Memory does not grow with the film. Damage midway ends the film; `warnings` then says so.

        Yields:
          The number of the sampling and a row, uint8 `[h, w, 3]` or `[frames, h, w, 3]`. The rows
          of each sampling are in the order of time.

        Raises:
          InputError: the frames have a shape or a format that cannot be scaled.
          ValueError: the film was read before.
        """
        if self._is_read:
            raise ValueError(f"{self.path} was read before: open it again")
        self._is_read = True
        film = FilmFacts(self.width, self.height, self.source_rate, self.duration)
        feeds = [self._feed(sampling, film) for sampling in samplings]
        counts = [0] * len(feeds)
        for number, row in self._all_rows(feeds):
            counts[number] += 1
            yield number, row
        if self._num_damaged:
            self._warn(
                f"{self._num_damaged:,} of its packets cannot be decoded, the first after "
                f"{self._first_damage:.1f} s ({self._damage})"
            )
        end = float(self._end)
        if end < self.seconds - _EARLY:
            self._warn(f"ends at {end:.1f} s where {self.seconds:.1f} s are declared")
        if 0 in counts:
            self._warn(f"is only {end:.3g} s long: too short for a row")

    def _feed(self, sampling: Sampling, film: FilmFacts) -> FrameGraph:
        picture = sampling.picture(film)
        if picture.width * picture.height > self._max_pixels:
            raise InputError(
                f"{self.path}: its frames of {film.width} x {film.height} would be scaled to "
                f"{picture.width} x {picture.height}: leave it out, or cut it to a usual shape"
            )
        for sentence in sampling.warnings(film):
            self._warn(sentence)
        rate = sampling.rate(film)
        with self._scaled():
            return FrameGraph(self._first, self._time_base, rate, picture, sampling.rows(film))

    def _all_rows(self, feeds: Sequence[FrameGraph]) -> Iterator[tuple[int, np.ndarray]]:
        with self._scaled():
            for frame in self._timed_frames():
                for number, feed in enumerate(feeds):
                    for row in feed.push(frame):
                        yield number, row
            for number, feed in enumerate(feeds):
                for row in feed.finish():
                    yield number, row

    @contextlib.contextmanager
    def _scaled(self) -> Iterator[None]:
        """Turns errors of FFmpeg's filters, which do not take all formats, into InputError."""
        try:
            yield
        except av.error.FFmpegError as error:
            raise InputError(
                f"{self.path}: its frames ({self._first.format.name}) cannot be scaled "
                f"({error.strerror}): convert it to H.264 or VP9"
            ) from error

    def _timed_frames(self) -> Iterator[av.VideoFrame]:
        """Yields the frames, timed from the start of the film, up to its end or to damage."""
        unit = self._time_base
        usual = max(round(1 / self._rate / unit), 1)
        end, last, size = 0, None, (self._first.width, self._first.height)
        for frame in itertools.chain([self._first], self._decoded):
            time = frame.dts if frame.pts is None else frame.pts
            now = end if time is None else time - self._start
            if (now - end) * unit > _LEAP:
                self._warn(f"{self._until()}: the next frame is at {float(now * unit):.1f} s")
                return
            if (frame.width, frame.height) != size:
                if self._rotation:
                    self._warn(f"{self._until()}: its size changes there, and it is turned")
                    return
                size = frame.width, frame.height
                self._warn(f"changes its size at {float(now * unit):.1f} s: scaled to one size")
            if frame.duration <= 0:
                frame.duration = now - last if last is not None and now > last else usual
            frame.pts, last, end = now, now, now + frame.duration
            self._end = end * unit
            yield frame

    def _until(self) -> str:
        return f"is read up to {float(self._end):.1f} s"

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)
