"""A clip as a picture: frames or features on top, subtitles and queries as bars below."""

import dataclasses
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.typing import ColorType
from PIL import Image

from data.arguments import user_path
from data.errors import InputError, reason
from data.files import writing_to
from data.schema import Clip
from data.show.shown import Shown, runs, truth
from data.text import plain
from data.times import clock

# Sizes in inches.
_FRAME_WIDTH, _LEAST_WIDTH, _MOST_WIDTH = 0.35, 12.0, 40.0
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP, _PAD = 0.9, 0.2, 0.4, 0.5, 0.1, 0.04
_IMAGE_HEIGHT, _PART_HEIGHT, _LANE_HEIGHT, _NUMBERS_HEIGHT = 1.2, 1.3, 0.22, 0.17
_BETWEEN_TICKS = 1.0

_DPI = 100
_FONT_SIZE, _SMALL = 8, 6
_DEVIATIONS = 2.5  # standard deviations at the ends of a heat map's colours
_LETTERS = 70  # longest text of a bar
_COLOURS = matplotlib.color_sequences["tab10"]
_GRAY = (0.35, 0.35, 0.4)


@dataclasses.dataclass(frozen=True)
class Bar:
    """A text and its time.

    start, end: seconds.
    frames: numbers of its frames in order, which are underlined.
    spans: other times of it in seconds, drawn as thin lines.
    number: decides the colour; -1 for gray.
    """

    text: str
    start: float
    end: float
    frames: Sequence[int] = ()
    spans: Sequence[tuple[float, float]] = ()
    number: int = -1


def draw(shown: Shown, path: str | os.PathLike[str]) -> None:
    """Draws a clip to a PNG: its frames, and below them subtitles and queries as bars.

    A clip without frame images is drawn as heat maps of its features.

    Raises:
      InputError: an image of the clip cannot be read, or the PNG cannot be written.
    """
    clip, path = shown.clip, user_path(path)
    bars = {"subtitles": list(_subtitle_bars(shown))}
    if shown.queries:
        bars["queries"] = list(_query_bars(shown))
    with warnings.catch_warnings():
        # They are about letters that the font lacks, and dimensions that are NaN throughout.
        warnings.simplefilter("ignore")
        # Texts are not TeX, whatever they hold and the user's settings say.
        with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}):
            picture = Picture(clip, shown.metadata.seconds_per_feature)
            if clip.frame_images:
                picture.add_images()
            else:
                picture.add_features(shown.metadata.feature_widths)
            picture.add_numbers()
            for label, of_label in bars.items():
                picture.add_bars(label, of_label)
            title = f"{plain(clip.clip_id)} ({shown.split}), {clock(clip.duration, tenths=True)}"
            with writing_to(path, "name another file"):
                picture.save(path, title)


def _subtitle_bars(shown: Shown) -> Iterator[Bar]:
    clip = shown.clip
    for index, text in enumerate(clip.subtitle_texts):
        start, end = clip.subtitle_starts[index].item(), clip.subtitle_ends[index].item()
        yield Bar(_short(text), start, end, frames=shown.frames_of(index), number=index)


def _query_bars(shown: Shown) -> Iterator[Bar]:
    for query in shown.queries:
        text = _short(f"{query.query_id}: {query.text}")
        if 0 <= query.label < len(query.answers):
            text += f" → {_short(query.answers[query.label])}"
        if shown.metadata.query_type == "statement":
            text = f"({truth(query)}) {text}"
        start, end = query.moment or (0.0, shown.clip.duration)
        yield Bar(text, start, end, spans=query.moments.tolist())


def _short(text: str) -> str:
    text = plain(text)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1].rstrip()}…"


class Picture:
    """A picture of panels, one below the other, over one axis of seconds."""

    def __init__(self, clip: Clip, step: float):
        """Makes a picture without panels.

        Args:
          clip: the clip.
          step: seconds between two frames.
        """
        self.clip = clip
        self.step = step
        self.seconds = max(clip.duration, len(clip.frame_features) * step)
        self.width = min(max(_FRAME_WIDTH * self.seconds / step, _LEAST_WIDTH), _MOST_WIDTH)
        # Only some frames of a long clip are drawn, as many as there is room for.
        self.every = max(round(_FRAME_WIDTH * self.seconds / step / self.width), 1)
        # The first and the last image need more width than their time.
        self.margin = self.every * step / 2
        self.inches_per_second = self.width / (self.seconds + 2 * self.margin)
        self.figure = Figure((_LEFT + self.width + _RIGHT, 1), dpi=_DPI)
        self.renderer = FigureCanvasAgg(self.figure).get_renderer()
        self.panels: list[tuple[str, float, Callable[[Axes], None]]] = []

    def add_images(self) -> None:
        """Adds the images in two alternating rows, so that each is twice as wide as its time."""
        images = []
        for index, data in enumerate(self.clip.frame_images):
            try:
                images.append(Image.open(io.BytesIO(data)).convert("RGB"))
            except OSError as error:
                raise InputError(
                    f"image {index} of clip {self.clip.clip_id} cannot be read "
                    f"({reason(error)}): build the dataset again"
                ) from error
        ratio = images[0].height / images[0].width
        room = 2 * self.every * self.step * self.inches_per_second - _PAD
        height = min(room * ratio, _IMAGE_HEIGHT)
        half = height / ratio / self.inches_per_second / 2

        def paint(axis: Axes) -> None:
            for place, index in enumerate(range(0, len(images), self.every)):
                middle, row = (index + 0.5) * self.step, place % 2
                extent = (middle - half, middle + half, 1.02 - row, 1.98 - row)
                axis.imshow(images[index], extent=extent, aspect="auto", zorder=1)
            axis.set_ylim(0, 2)

        self.panels.append(("frames", 2 * height, paint))

    def add_features(self, widths: Sequence[int]) -> None:
        """Adds a heat map of each part of the features, standardised over the clip by dimension."""
        features = self.clip.frame_features.astype(np.float32)
        features[~np.isfinite(features)] = np.nan
        features -= np.nanmean(features, 0)
        features /= np.nanstd(features, 0) + 1e-6
        for number, part in enumerate(np.split(features.T, np.cumsum(widths)[:-1]), 1):

            def paint(axis: Axes, part: np.ndarray = part) -> None:
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
        """Adds a strip with the number of every frame, in the colour of its subtitle."""

        def paint(axis: Axes) -> None:
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
        """Adds bars with their texts, in as few lanes as keep them apart."""
        pad = _PAD / self.inches_per_second
        places: list[tuple[Bar, int, float]] = []
        lane_ends: list[float] = []
        for bar in sorted(bars, key=lambda bar: bar.start):
            width = self._seconds_of(bar.text)
            # The text begins with its bar, or earlier if it would not end within the picture.
            left = max(min(bar.start, self.seconds - width), 0.0) + pad
            begin, stop = min(left, bar.start), max(left + width, bar.end)
            lanes = (lane for lane, end in enumerate(lane_ends) if end <= begin)
            lane = next(lanes, len(lane_ends))
            lane_ends[lane : lane + 1] = [stop + 2 * pad]
            places.append((bar, lane, left))

        def paint(axis: Axes) -> None:
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
            axis.set_ylim(max(len(lane_ends), 1) - 0.4, -0.6)

        self.panels.append((label, max(len(lane_ends), 1) * _LANE_HEIGHT, paint))

    def _seconds_of(self, text: str) -> float:
        """Returns the width of a text in seconds of the time axis."""
        drawn = self.figure.text(0, 0, text, size=_FONT_SIZE)
        pixels = drawn.get_window_extent(self.renderer).width
        drawn.remove()
        return pixels / _DPI / self.inches_per_second

    def save(self, path: str | os.PathLike[str], title: str) -> None:
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


def _colour(number: int) -> ColorType:
    return _GRAY if number < 0 else _COLOURS[number % len(_COLOURS)]
