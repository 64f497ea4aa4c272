"""Films of the sample corpus as video files, with their subtitles beside them."""

import itertools
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.video.reformatter import ColorRange, Colorspace

from data.arguments import user_path, whole
from data.errors import InputError
from data.files import replacing, writing_to
from data.progress import progress
from data.shapes.render import render
from data.shapes.source import film_id, split_of, tell_film
from data.shapes.story import ENLARGED, FRAME_SIZE, VIDEO_RATE, Story
from data.sources.subtitle_formats.subrip import to_subrip

# Encoders in order of preference, with settings under which every pixel keeps its colour.
ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "18"},
    "mpeg4": {"b": "1500000"},
}
# RGB to luma and the two chromas of ITU-R BT.601, in the range of television.
_YUV = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_BLACK = np.array([16, 128, 128])


def film_numbers(first: int, num: int, split: str | None = None) -> list[int]:
    """Returns the numbers of `num` films of a split, or of all, from film `first` on.

    Raises:
      InputError: an argument is out of range.
    """
    first, num = whole(first, "clip", least=0), whole(num, "num", least=1)
    numbers = (n for n in itertools.count(first) if split in (None, split_of(n, n + 1)))
    return list(itertools.islice(numbers, num))


def write_films(folder: str | os.PathLike, seed: int, numbers: Iterable[int]) -> tuple[int, int]:
    """Writes films as `ID.mp4`, and the subtitles of each as `ID.srt`.

    Films that are there are kept. One that is being written has a hidden name until it is complete.

    Returns:
      The number of films written, and of those that were there.

    Raises:
      InputError: the folder cannot be written to.
    """
    folder = user_path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder: name another one for the films")
    names = {n: folder / f"{film_id(seed, n)}.mp4" for n in numbers}
    missing = [n for n, path in names.items() if not path.exists()]
    with writing_to(folder, "make room, or name another folder; complete films are kept"):
        folder.mkdir(parents=True, exist_ok=True)
        for number in progress(missing, "films", len(missing)):
            _write_film(names[number], seed, number)
    return len(missing), len(names) - len(missing)


def _write_film(path: Path, seed: int, number: int) -> None:
    story, subtitles, _ = tell_film(seed, number)
    # The subtitles are first: a film that is there has them.
    with replacing(path.with_suffix(".srt")) as temporary:
        temporary.write_text(to_subrip(subtitles), encoding="utf-8")
    with replacing(path) as temporary:
        write_video(temporary, story, encoder())


def write_video(path: Path, story: Story, encoder: str) -> None:
    """Writes the frames of a story as a video of 384 by 384 pixels.

    Args:
      path: file with the extension of a container.
      story: the story; the video ends with the first frame after it.
      encoder: one of ENCODERS.

    Raises:
      OSError: the file cannot be written.
    """
    times = np.arange(math.ceil(story.duration * VIDEO_RATE)) / VIDEO_RATE
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(encoder, rate=VIDEO_RATE, options=ENCODERS[encoder])
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = FRAME_SIZE * ENLARGED
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = Colorspace.SMPTE170M
        stream.codec_context.color_range = ColorRange.MPEG
        for frame in _enlarged(render(story, times)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="yuv420p")))
        container.mux(stream.encode())


def _enlarged(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Yields frames `[48, 48, 3]` as luma over both chromas, `[576, 384]` uint8.

    A pixel becomes a block of 8 by 8, so that the coarser chroma loses nothing.
    """
    for frame in frames:
        planes = np.rint(_BLACK + frame @ (_YUV.T / 255)).astype(np.uint8)
        luma, blue, red = planes.transpose(2, 0, 1)
        chroma = np.stack([blue, red]).repeat(ENLARGED // 2, 1).repeat(ENLARGED // 2, 2)
        luma = luma.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
        yield np.concatenate([luma, chroma.reshape(-1, luma.shape[1])])


def encoder() -> str:
    """Returns the first of ENCODERS that the installed PyAV has."""
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
        except UnknownCodecError:
            continue
        return name
    raise InputError(f"PyAV has none of the encoders {', '.join(ENCODERS)}: install it with pip")
