"""One HTML page with what searches found in videos: moments, their subtitles, and pictures.

The page is self-contained: it has no scripts and loads nothing, and a policy forbids both. All text
is escaped (templates/*.html.jinja), and text of data never gets into an attribute: anchors are
numbers. So text remains text, whatever it is.
"""

import base64
import dataclasses
import functools
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from data.times import clock
from hero_jax.index import Line

_SIGNATURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}

# Sizes of a time line in pixels; widths are shares of the track, which is as wide as the page.
_LANE, _NUMBER_BASE, _BOX_TOP, _BOX_HEIGHT, _EDGE = 30, 13, 18, 10, 3
_HALF_NUMBER = 0.025  # Share of the track that half a number of two digits takes on a phone.
_DARKEST, _PALEST = 1.0, 0.3


@dataclasses.dataclass(frozen=True)
class PageMoment:
    """A moment that a search found.

    start, end: seconds of the video.
    score: comparable within a query; the higher the better.
    lines: subtitles that overlap the moment, in seconds of the video.
    frames: pictures, each with its second of the video, as PNG or JPEG; may be empty.
    """

    video_id: str
    clip_id: str
    start: float
    end: float
    score: float
    lines: tuple[Line, ...]
    frames: tuple[tuple[float, bytes], ...]


@dataclasses.dataclass(frozen=True)
class Searched:
    """A query and what was found, best first."""

    query: str
    found: tuple[PageMoment, ...]


@dataclasses.dataclass(frozen=True)
class _Box:
    """A moment on a time line.

    start, end: seconds.
    left, width, middle: shares of the track; the number of the rank is in the middle.
    top, number_base: pixels.
    """

    rank: int
    start: float
    end: float
    left: float
    width: float
    middle: float
    top: int
    number_base: int
    opacity: float
    height: int = _BOX_HEIGHT


@dataclasses.dataclass(frozen=True)
class _Track:
    """The time line of a video; length in seconds, height in pixels."""

    video_id: str
    length: float
    height: int
    boxes: tuple[_Box, ...]


@dataclasses.dataclass(frozen=True)
class _Section:
    """A query of the page; number is 1 for the first, count the number of moments."""

    number: int
    query: str
    found: tuple[PageMoment, ...]
    tracks: tuple[_Track, ...]

    @property
    def count(self) -> int:
        return len(self.found)

    @property
    def best(self) -> float:
        """Score of the best moment."""
        return self.found[0].score


def page(searches: Sequence[Searched], *, title: str, durations: Mapping[str, float]) -> str:
    """Returns the page, which can always be encoded as UTF-8.

    In texts, white space among the control characters (tabs, ends of lines) becomes a space; other
    control characters and lone surrogates become U+FFFD.

    Args:
      searches: queries in the order of the page.
      title: heading of the page.
      durations: seconds of videos by their ids. A video without a duration ends with the last of
        its moments.
    """
    sections = [
        _Section(number, searched.query, searched.found, _tracks(searched.found, durations))
        for number, searched in enumerate(searches, 1)
    ]
    template = _environment().get_template("page.html.jinja")
    return template.render(title=title, sections=sections)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "plain": _plain,
        "clock": clock,
        "percent": _percent,
        "share": _share,
        "pictures": _pictures,
    }
    return environment


def _plain(text: str) -> str:
    """Replaces characters that HTML or UTF-8 cannot hold; see `page`."""
    return "".join(map(_allowed, text))


def _allowed(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc" and character.isspace():
        return " "
    return "\ufffd" if category in ("Cc", "Cs") else character


def _percent(share: float) -> str:
    return f"{100 * share:.3f}%"


def _share(part: float, total: float) -> float:
    """Returns part / total, at least 0 and at most 1.

    The last frame of a video may end after it, and a score may be negative.
    """
    return min(max(part / total, 0.0), 1.0) if total > 0 else 0.0


def _tracks(found: Sequence[PageMoment], durations: Mapping[str, float]) -> tuple[_Track, ...]:
    """Returns a time line for each video, in the order of their best moments."""
    videos: dict[str, list[tuple[int, PageMoment]]] = {}
    for rank, moment in enumerate(found, 1):
        videos.setdefault(moment.video_id, []).append((rank, moment))
    return tuple(
        _track(video_id, ranked, len(found), durations.get(video_id))
        for video_id, ranked in videos.items()
    )


def _track(
    video_id: str, ranked: list[tuple[int, PageMoment]], count: int, duration: float | None
) -> _Track:
    """Lays out the time line of a video.

    Args:
      ranked: rank and moment.
      count: number of moments of the query; the better a moment is among them, the darker its box.
      duration: seconds of the video, None if that is unknown.
    """
    length = max(moment.end for _, moment in ranked) if duration is None else duration
    spans = [(_share(moment.start, length), _share(moment.end, length)) for _, moment in ranked]
    lanes = _lanes(spans)
    boxes = []
    for (rank, moment), (left, right), lane in zip(ranked, spans, lanes, strict=True):
        top = _EDGE + _LANE * lane
        box = _Box(
            rank=rank,
            start=moment.start,
            end=moment.end,
            left=left,
            width=right - left,
            middle=_middle(left, right),
            top=top + _BOX_TOP,
            number_base=top + _NUMBER_BASE,
            opacity=_DARKEST - (_DARKEST - _PALEST) * (rank - 1) / max(1, count - 1),
        )
        boxes.append(box)
    return _Track(video_id, length, 2 * _EDGE + _LANE * (1 + max(lanes)), tuple(boxes))


def _middle(left: float, right: float) -> float:
    """Returns the place of a box's number, all of which is on the track."""
    return min(max((left + right) / 2, _HALF_NUMBER), 1 - _HALF_NUMBER)


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Returns for each box the highest lane in which it and its number cover no earlier one.

    Args:
      spans: left and right of boxes, as shares of the track.
    """
    occupied: list[list[tuple[float, float]]] = []
    lanes = []
    for left, right in spans:
        middle = _middle(left, right)
        left, right = min(left, middle - _HALF_NUMBER), max(right, middle + _HALF_NUMBER)
        lane = 0
        while lane < len(occupied) and any(left < b and a < right for a, b in occupied[lane]):
            lane += 1
        if lane == len(occupied):
            occupied.append([])
        occupied[lane].append((left, right))
        lanes.append(lane)
    return lanes


def _pictures(frames: Sequence[tuple[float, bytes]]) -> list[tuple[float, str]]:
    """Returns second and data URL of pictures, without those that are neither PNG nor JPEG."""
    pictures = []
    for second, picture in frames:
        for kind, signature in _SIGNATURES.items():
            if picture.startswith(signature):
                code = base64.b64encode(picture).decode("ascii")
                pictures.append((second, f"data:{kind};base64,{code}"))
    return pictures
