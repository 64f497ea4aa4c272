"""Frames of a film that make the rows of a network's features: single ones (2D) or clips (3D).

The numbers are those of the tool that made the published features, so that checkpoints fit. Nothing
here decodes: rows are made of frames that come one by one, in memory that does not grow with the
film.
"""

import collections
import dataclasses
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np

from data.arguments import refusal

# Pixels of the short side of a frame, and of both sides of its centre.
SIDE = 224
# Frames of a clip, and frames a second at which a film is read for clips.
CLIP_FRAMES = 32
CLIP_RATE = 30
# Frames that the published sampling of clips spans, in frames of the source.
_SPAN = 64
# Frames a second of a source from which on this sampling ends in one frame shown many times.
_STRETCHING_RATE = 45
# Seconds by which a film may be longer than a row and still count as short.
_SHORT_FILM = 0.1


class FilmFacts(NamedTuple):
    """Facts of a film that sampling depends on.

    width, height: of a frame, as it is shown.
    source_rate: whole frames a second.
    duration: seconds, -1 if unknown.
    """

    width: int
    height: int
    source_rate: int
    duration: float


class Framing(NamedTuple):
    """Size to which a frame is scaled, and the part that is kept.

    width, height: of the whole frame, after scaling.
    crop: left, top, width and height of the part that is kept, None for all of it.
    """

    width: int
    height: int
    crop: tuple[int, int, int, int] | None


class RowMaker(Protocol):
    """Makes the rows of one film from its frames, uint8 `[h, w, 3]`."""

    def push(self, frame: np.ndarray) -> Iterator[np.ndarray]:
        """Takes the next frame; yields the rows that are complete."""
        ...

    def finish(self) -> Iterator[np.ndarray]:
        """Yields the rows that are left at the end of the film."""
        ...


class Sampling(Protocol):
    """A way from films to rows; one that is equal gives the same rows."""

    def rate(self, film: FilmFacts) -> Fraction:
        """Returns the frames a second at which the film is read."""
        ...

    def picture(self, film: FilmFacts) -> Framing:
        """Returns what is cut from each frame."""
        ...

    def rows(self, film: FilmFacts) -> RowMaker:
        """Returns what makes rows of the film's frames."""
        ...

    def warnings(self, film: FilmFacts) -> list[str]:
        """Returns sentences about what makes the film's rows worse than others."""
        ...


def short_side(width: int, height: int, crop: bool) -> Framing:
    """Returns a frame whose short side has SIDE pixels, or the square in its centre."""
    if height >= width:
        scaled = SIDE, int(height * SIDE / width)
    else:
        scaled = int(width * SIDE / height), SIDE
    left, top = ((length - SIDE) // 2 for length in scaled)
    return Framing(*scaled, (left, top, SIDE, SIDE) if crop else None)


def round_half_away(number: Fraction) -> int:
    """Returns the nearest whole number of one that is not negative, the higher one of two."""
    return math.floor(number + Fraction(1, 2))


def num_rows(seconds: Fraction, rate: Fraction) -> int:
    """Returns how many frames a film that ends after `seconds` has at `rate` a second."""
    return round_half_away(seconds * rate)


@dataclasses.dataclass(frozen=True)
class FrameSampling:
    """One frame a row, from the middle of the row's time.

    seconds_per_feature: seconds of a row.
    crop: whether to keep the square in the centre only, not the whole frame.
    """

    seconds_per_feature: Fraction
    crop: bool

    def __post_init__(self):
        """Checks the seconds; raises InputError."""
        _check(self.seconds_per_feature)

    def rate(self, film: FilmFacts) -> Fraction:
        """Returns a frame for each row; more for a film that has hardly one row."""
        if 0 < film.duration < self.seconds_per_feature + _SHORT_FILM:
            return Fraction(2, max(int(film.duration), 1))
        return 1 / Fraction(self.seconds_per_feature)

    def picture(self, film: FilmFacts) -> Framing:
        """Returns what is cut from each frame."""
        return short_side(film.width, film.height, self.crop)

    def rows(self, film: FilmFacts) -> RowMaker:
        """Returns what makes rows `[h, w, 3]`."""
        del film
        return FrameRows()

    def warnings(self, film: FilmFacts) -> list[str]:
        """Returns nothing: frames a second do not matter."""
        del film
        return []


class FrameRows:
    """Rows of one frame each."""

    def push(self, frame: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the frame."""
        yield frame

    def finish(self) -> Iterator[np.ndarray]:
        """Yields nothing."""
        yield from ()


@dataclasses.dataclass(frozen=True)
class ClipSampling:
    """Clips of CLIP_FRAMES frames, one a row: the square in the centre of each frame.

    seconds_per_feature: seconds of a row. Where they are no whole number of frames at CLIP_RATE,
      windows are shorter than rows, and a 75th (at 5/4) or so of the film is kept in memory.
    even: spreads the frames evenly over the row instead of as in the published features.
    """

    seconds_per_feature: Fraction
    even: bool = False

    def __post_init__(self):
        """Checks the seconds; raises InputError."""
        _check(self.seconds_per_feature)

    def rate(self, film: FilmFacts) -> Fraction:
        """Returns CLIP_RATE, whatever the film has."""
        del film
        return Fraction(CLIP_RATE)

    def picture(self, film: FilmFacts) -> Framing:
        """Returns the square in the centre."""
        return short_side(film.width, film.height, crop=True)

    def rows(self, film: FilmFacts) -> RowMaker:
        """Returns what makes rows `[CLIP_FRAMES, SIDE, SIDE, 3]`."""
        return _ClipRows(self, film)

    def positions(self, source_rate: int) -> np.ndarray:
        """Returns the places of a clip's frames in its window, int64 `[CLIP_FRAMES]`.

        The published sampling takes the source's rate into account though the film is read at
        CLIP_RATE: what it would take after the window is the window's last frame.
        """
        last = _window(self.seconds_per_feature) - 1
        end = last if self.even else _SPAN * source_rate / CLIP_RATE - 1
        return np.linspace(0, end, CLIP_FRAMES).clip(0, last).astype(np.int64)

    def warnings(self, film: FilmFacts) -> list[str]:
        """Returns a sentence about a film of so many frames a second that clips stand still."""
        if self.even or film.source_rate < _STRETCHING_RATE:
            return []
        positions = self.positions(film.source_rate)
        still = np.count_nonzero(positions == positions[-1])
        return [
            f"at {film.source_rate} frames a second, the published sampling of clips takes one "
            f"frame for {still} of {CLIP_FRAMES}: convert the film to 30 a second if no published "
            "features of it are needed"
        ]


def _check(seconds_per_feature: Fraction) -> None:
    if not seconds_per_feature * CLIP_RATE >= 1:
        needed = f"at least 1/{CLIP_RATE} of a second"
        raise refusal("seconds per feature", seconds_per_feature, needed)


def _window(seconds_per_feature: Fraction) -> int:
    """Returns the frames of a clip's window."""
    return int(CLIP_RATE * seconds_per_feature)


def num_clips(seconds_per_feature: Fraction, num_frames: int, duration: float) -> int:
    """Returns the number of clips of a film.

    Its seconds, of which the last may be incomplete, are filled up to a multiple of the numerator
    of `seconds_per_feature`.

    Args:
      num_frames: at CLIP_RATE a second.
      duration: seconds that the film's container states, -1 if it does not. It has no more clips
        than these.
    """
    exact = Fraction(seconds_per_feature)
    seconds = -(-num_frames // CLIP_RATE)
    filled = -(-seconds // exact.numerator) * exact.numerator
    clips = filled * exact.denominator // exact.numerator
    return int(min(clips, _most_clips(exact, duration)))


def _most_clips(seconds_per_feature: Fraction, duration: float) -> float:
    """Returns the number of clips that fit into the stated seconds, infinity if none are."""
    return math.ceil(duration / float(seconds_per_feature)) if duration > 0 else math.inf


def clip_indices(
    sampling: ClipSampling, clips: range, num_frames: int, source_rate: int
) -> np.ndarray:
    """Returns the frames of some clips of a film, int64 `[clips, CLIP_FRAMES]`.

    After the film's end, its last second is repeated, in which the last frame fills up what is
    missing.

    Args:
      num_frames: of the whole film, at CLIP_RATE a second.
    """
    starts = np.asarray(clips, np.int64) * _window(sampling.seconds_per_feature)
    frames = starts[:, None] + sampling.positions(source_rate)
    seconds = -(-num_frames // CLIP_RATE)
    repeated = (seconds - 1) * CLIP_RATE + frames % CLIP_RATE
    return np.minimum(np.where(frames >= seconds * CLIP_RATE, repeated, frames), num_frames - 1)


class _ClipRows:
    """Rows of clips; keeps the frames of the next clip's window and of the last second."""

    def __init__(self, sampling: ClipSampling, film: FilmFacts):
        self._sampling, self._film = sampling, film
        self._end = int(sampling.positions(film.source_rate)[-1])
        self._most = _most_clips(sampling.seconds_per_feature, film.duration)
        self._frames: collections.deque[np.ndarray] = collections.deque()
        # Numbers of the first frame that is kept, of all frames so far, and of the next clip.
        self._first = self._seen = self._next = 0

    def push(self, frame: np.ndarray) -> Iterator[np.ndarray]:
        """Takes the next frame; yields the clips whose frames are there."""
        if self._next >= self._most:
            # The film is longer than it states: no clip needs the rest.
            self._frames.clear()
            return
        self._frames.append(frame)
        self._seen += 1
        window = _window(self._sampling.seconds_per_feature)
        while self._next * window + self._end < self._seen and self._next < self._num_clips():
            yield self._take()
        needed = min(self._next * window, (self._seen - 1) // CLIP_RATE * CLIP_RATE)
        for _ in range(needed - self._first):
            self._frames.popleft()
        self._first = max(self._first, needed)

    def finish(self) -> Iterator[np.ndarray]:
        """Yields the clips that go on after the end."""
        while self._next < self._num_clips():
            yield self._take()

    def _num_clips(self) -> int:
        """Returns the number of clips if no frame follows; more frames never make it smaller."""
        return num_clips(self._sampling.seconds_per_feature, self._seen, self._film.duration)

    def _take(self) -> np.ndarray:
        clip = range(self._next, self._next + 1)
        (indices,) = clip_indices(self._sampling, clip, self._seen, self._film.source_rate)
        self._next += 1
        return np.stack([self._frames[index - self._first] for index in indices])
