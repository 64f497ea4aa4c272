"""Filter graphs of FFmpeg that make a sampling's frames of the decoded ones."""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from data.video.sampling import Framing, RowMaker

# Filters that show a frame upright, by its rotation in degrees: names and arguments.
UPRIGHT: dict[int, tuple[tuple[str, str], ...]] = {
    0: (),
    90: (("transpose", "cclock"),),
    180: (("hflip", ""), ("vflip", "")),
    270: (("transpose", "clock"),),
}


class FrameGraph:
    """Takes decoded frames and yields a sampling's rows.

    Frames go through FFmpeg's filters in the order of its command line: upright, the frame rate,
    scaling, cutting.
    """

    def __init__(
        self,
        first: av.VideoFrame,
        time_base: Fraction,
        rate: Fraction,
        picture: Framing,
        rows: RowMaker,
    ):
        """Makes the graph.

        Args:
          first: a frame like those that follow.
          time_base: seconds of a unit of their times.
        """
        filters = [
            *UPRIGHT.get(first.rotation % 360, ()),
            ("fps", f"fps={rate}"),
            ("scale", f"{picture.width}:{picture.height}:flags=bicubic"),
        ]
        if picture.crop:
            left, top, width, height = picture.crop
            filters.append(("crop", f"{width}:{height}:{left}:{top}"))
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=time_base
        )
        added = [self._graph.add(name, arguments) for name, arguments in filters]
        sink = self._graph.add("buffersink")
        self._graph.link_nodes(source, *added, self._graph.add("format", "rgb24"), sink)
        self._graph.configure()
        self._rows = rows
        self._is_begun = False

    def push(self, frame: av.VideoFrame) -> Iterator[np.ndarray]:
        """Takes the next frame; yields the rows that are complete."""
        self._graph.push(frame)
        yield from self._pull()

    def finish(self) -> Iterator[np.ndarray]:
        """Yields the rows that are left at the end of the film."""
        self._graph.push(None)
        yield from self._pull()
        yield from self._rows.finish()

    def _pull(self) -> Iterator[np.ndarray]:
        while True:
            try:
                frame = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            pixels = frame.to_ndarray()
            # A picture that begins after the sound is shown from the start.
            times = 1 if self._is_begun else 1 + max(frame.pts or 0, 0)
            self._is_begun = True
            for _ in range(times):
                yield from self._rows.push(pixels)
