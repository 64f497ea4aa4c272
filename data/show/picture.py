"""A clip's time line as a picture: frames or features on top, bars with texts below."""

import dataclasses
import io
import os
import warnings
from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from data.errors import InputError
from data.schema import Clip, DatasetMetadata

# In inches.
_FRAME_WIDTH, _LEAST_WIDTH, _MOST_WIDTH = 0.35, 12.0, 40.0
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP, _PAD = 0.9, 0.2, 0.4, 0.5, 0.1, 0.04
_IMAGE_HEIGHT, _PART_HEIGHT, _LANE_HEIGHT, _NUMBERS_HEIGHT = 1.2, 1.3, 0.22, 0.17
_BETWEEN_TICKS = 1.0

_DPI = 100
_FONT_SIZE, _SMALL = 8, 6
_DEVIATIONS = 2.5  # that a heat map tells apart
_COLOURS = matplotlib.colormaps["tab10"].colors
_GRAY = (0.35, 0.35, 0.4)


@dataclasses.dataclass(frozen=True)
class Bar:
    """A text and the time in which it holds.

    start, end: seconds.
    frames: that belong to it, in order; underlined.
    spans: other times, drawn as thin lines.
    number: decides the colour; -1 for gray.
    """

    text: str
    start: float
    end: float
    frames: Sequence[int] = ()
    spans: Sequence[tuple[float, float]] = ()
    number: int = -1


def draw(
    path: str | os.PathLike,
    clip: Clip,
    metadata: DatasetMetadata,
    title: str,
    bars: Mapping[str, Sequence[Bar]],
) -> None:
    """Writes the PNG `path`; below the clip's frames is a panel of bars for each label.

    A clip without frame images is shown as heat maps of its features.

    Raises:
      InputError: an image of the clip is none, or `path` cannot be written.
    """
    # Whatever a text holds and the user's settings say, it is not TeX.
    settings = {"text.parse_math": False, "text.usetex": False}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # About letters that the font lacks, and dimensions that are NaN throughout.
        warnings.simplefilter("ignore")
        picture = Picture(clip, metadata.seconds_per_feature)
        if clip.frame_images:
            picture.add_images()
        else:
            picture.add_features(metadata.feature_widths)
        picture.add_numbers()
        for label, some in bars.items():
            picture.add_bars(label, some)
        try:
            picture.save(path, title)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error}): name another --out") from error


def runs(frames: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers, which are in order."""
    frames = np.asarray(frames, int)
    split = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [(int(run[0]), int(run[-1])) for run in split if run.size]


class Picture:
    """Panels one below the other over one axis of seconds."""

    def __init__(self, clip: Clip, step: float):
        """`step`: seconds between two frames."""
        self.clip = clip
        self.step = step
        self.seconds = max(clip.duration, len(clip.frame_features) * step)
        self.width = min(max(_FRAME_WIDTH * self.seconds / step, _LEAST_WIDTH), _MOST_WIDTH)
        # Of a clip with more frames than there is room for only some are drawn.
        self.every = max(round(_FRAME_WIDTH * self.seconds / step / self.width), 1)
        # The first and the last image are wider than their time.
        self.margin = self.every * step / 2
        self.inches_per_second = self.width / (self.seconds + 2 * self.margin)
        self.figure = Figure((_LEFT + self.width + _RIGHT, 1), dpi=_DPI)
        self.renderer = FigureCanvasAgg(self.figure).get_renderer()
        self.panels: list[tuple[str, float, Callable[[Axes], None]]] = []

    def add_images(self) -> None:
        """The frames' images in two rows, by turns, so that each is twice as wide as its time."""
        images = []
        for index, data in enumerate(self.clip.frame_images):
            try:
                images.append(Image.open(io.BytesIO(data)).convert("RGB"))
            except OSError as error:
                raise InputError(
                    f"image {index} of clip {self.clip.clip_id} cannot be read ({error}): build "
                    "the dataset again"
                ) from error
        ratio = images[0].height / images[0].width
        room = 2 * self.every * self.step * self.inches_per_second - _PAD
        height = min(room * ratio, _IMAGE_HEIGHT)
        half = height / ratio / self.inches_per_second / 2

        def paint(axis):
            for place, index in enumerate(range(0, len(images), self.every)):
                middle, row = (index + 0.5) * self.step, place % 2
                extent = (middle - half, middle + half, 1.02 - row, 1.98 - row)
                axis.imshow(images[index], extent=extent, aspect="auto", zorder=1)
            axis.set_ylim(0, 2)

        self.panels.append(("frames", 2 * height, paint))

    def add_features(self, widths: Sequence[int]) -> None:
        """A heat map of each part of the features, every dimension standardised over the clip."""
        features = self.clip.frame_features.astype(np.float32)
        features[~np.isfinite(features)] = np.nan
        features -= np.nanmean(features, 0)
        features /= np.nanstd(features, 0) + 1e-6
        for number, part in enumerate(np.split(features.T, np.cumsum(widths)[:-1]), 1):

            def paint(axis, part=part):
                axis.imshow(
                    part,
                    extent=(0, part.shape[1] * self.step, 0, 1),
                    aspect="auto",
                    zorder=1,
                    interpolation="nearest",
                    cmap="RdBu_r",
                    vmin=-_DEVIATIONS,
                    vmax=_DEVIATIONS,
                )

            self.panels.append((f"features {number}\n{len(part)} wide", _PART_HEIGHT, paint))

    def add_numbers(self) -> None:
        """A strip with the number of every frame, in the colour of its subtitle."""

        def paint(axis):
            for frame, subtitle in enumerate(self.clip.frame_subtitle.tolist()):
                start = frame * self.step
                if subtitle >= 0:
                    axis.barh(0.5, self.step, 1, start, color=_colour(subtitle), alpha=0.6)
                if frame % self.every == 0:
                    middle = start + self.step / 2
                    axis.text(middle, 0.45, f"{frame}", size=_SMALL, ha="center", va="center")
            axis.set_ylim(0, 1)

        self.panels.append(("frame", _NUMBERS_HEIGHT, paint))

    def add_bars(self, label: str, bars: Sequence[Bar]) -> None:
        """Bars with their texts, in as few lanes as keep them apart."""
        places, free, pad = [], [], _PAD / self.inches_per_second
        for bar in sorted(bars, key=lambda bar: bar.start):
            width = self._seconds_of(bar.text)
            # Where the text begins: with its bar, or earlier if it has to end before the picture.
            left = max(min(bar.start, self.seconds - width), 0.0) + pad
            begin, stop = min(left, bar.start), max(left + width, bar.end)
            lane = next((i for i, end in enumerate(free) if end <= begin), len(free))
            free[lane : lane + 1] = [stop + 2 * pad]
            places.append((bar, lane, left))

        def paint(axis):
            for bar, lane, left in places:
                colour = _colour(bar.number)
                axis.barh(lane, bar.end - bar.start, 0.8, bar.start, color=colour, alpha=0.35)
                for start, end in bar.spans:
                    axis.plot([start, end], [lane - 0.4] * 2, color=colour, linewidth=1)
                for first, last in runs(bar.frames):
                    ends = [first * self.step, (last + 1) * self.step]
                    axis.plot(ends, [lane + 0.4] * 2, color=colour, linewidth=2)
                axis.text(left, lane, bar.text, size=_FONT_SIZE, va="center", clip_on=True)
            if not bars:
                axis.text(pad, 0, "none", size=_FONT_SIZE, va="center", color=_GRAY)
            axis.set_ylim(max(len(free), 1) - 0.4, -0.6)

        self.panels.append((label, max(len(free), 1) * _LANE_HEIGHT, paint))

    def _seconds_of(self, text: str) -> float:
        """How much of the time axis a text covers."""
        drawn = self.figure.text(0, 0, text, size=_FONT_SIZE)
        pixels = drawn.get_window_extent(self.renderer).width
        drawn.remove()
        return pixels / _DPI / self.inches_per_second

    def save(self, path: str | os.PathLike, title: str) -> None:
        """Paints all panels and writes the PNG."""
        width = _LEFT + self.width + _RIGHT
        height = _TOP + sum(panel[1] + _GAP for panel in self.panels) + _BOTTOM
        self.figure.set_size_inches(width, height)
        self.figure.text(_LEFT / width, 1 - 0.25 / height, title, size=_FONT_SIZE + 2)
        top = height - _TOP
        for label, panel_height, paint in self.panels:
            top -= panel_height
            place = (_LEFT / width, top / height, self.width / width, panel_height / height)
            axis = self.figure.add_axes(place)
            paint(axis)
            axis.set_xlim(-self.margin, self.seconds + self.margin)
            axis.set_yticks([])
            axis.set_ylabel(label, size=_FONT_SIZE, rotation=0, ha="right", va="center")
            axis.grid(axis="x", alpha=0.3)
            axis.set_axisbelow(True)
            axis.locator_params(axis="x", nbins=int(self.width / _BETWEEN_TICKS))
            axis.tick_params(labelbottom=False, labelsize=_FONT_SIZE)
            top -= _GAP
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("seconds", size=_FONT_SIZE)
        self.figure.savefig(path, format="png")


def _colour(number: int) -> tuple[float, float, float]:
    return _GRAY if number < 0 else _COLOURS[number % len(_COLOURS)]
