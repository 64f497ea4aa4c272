"""One HTML page with what searches found in videos: moments, what is said there, and pictures.

The page stands alone: no scripts, nothing from elsewhere, and a policy that forbids both. Text that
comes from data gets there through `_data` and `_plain` alone, and never into an attribute: anchors
are numbers. So text stays text, whatever it is.
"""

import base64
import dataclasses
import html
import unicodedata
from collections.abc import Mapping, Sequence

from data.times import clock

_SIGNATURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

# Of a time line, in pixels. Widths are shares, so that it is as wide as the page lets it be.
_LANE, _NUMBER_BASE, _BOX_TOP, _BOX_HEIGHT, _EDGE = 30, 13, 18, 10, 3
_HALF_NUMBER = 0.025  # of the track: two digits on a phone
_DARKEST, _PALEST = 1.0, 0.3


@dataclasses.dataclass(frozen=True)
class PageMoment:
    """A moment that a search found.

    start, end: in seconds of the video.
    score: comparable within a query; the higher the better.
    lines: subtitles that overlap the moment, each with `start` and `end` in seconds of the video,
      and `text`.
    frames: second of the video and PNG or JPEG of pictures there; may be empty.
    """

    video_id: str
    clip_id: str
    start: float
    end: float
    score: float
    lines: tuple
    frames: tuple[tuple[float, bytes], ...]


@dataclasses.dataclass(frozen=True)
class Searched:
    """A query and what was found, the best first."""

    query: str
    found: tuple[PageMoment, ...]


def page(searches: Sequence[Searched], *, title: str, durations: Mapping[str, float]) -> str:
    """The page, which can always be encoded as UTF-8.

    In texts, white space of control characters (tabs, ends of lines) becomes a space; other control
    characters and lone surrogates become U+FFFD.

    Args:
      searches: what to show, in order.
      title: heading of the page.
      durations: seconds by video id. A video that is not there is taken to end with the last of its
        moments.
    """
    sections = [_section(number, one, durations) for number, one in enumerate(searches, 1)]
    moments = sum(len(one.found) for one in searches)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8"/>',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"/>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            f"<title>{_plain(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            f'<header id="top"><h1>{_data(title)}</h1>',
            f'<p class="quiet">{_count(len(searches), "query", "queries")}, '
            f"{_count(moments, 'moment')}</p></header>",
            *([_contents(searches)] if len(searches) > 1 else []),
            "<main>",
            *sections,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _plain(text: str) -> str:
    """Text as markup that shows it, without what HTML or UTF-8 has no place for; see `page`."""
    return html.escape("".join(_allowed(character) for character in text))


def _allowed(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc" and character.isspace():
        return " "
    return "\ufffd" if category in ("Cc", "Cs") else character


def _data(text: str) -> str:
    """Text of data as an element of its own, whose direction does not reorder what is beside it.

    The style makes it a block in the line as well: a text could close the isolation of `<bdi>` with
    U+2069, but not a block.
    """
    return f"<bdi>{_plain(text)}</bdi>"


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _times(start: float, end: float) -> str:
    return f"{clock(start)} – {clock(end)}"


def _percent(share: float) -> str:
    return f"{100 * share:.3f}%"


def _contents(searches: Sequence[Searched]) -> str:
    """A table of contents."""
    rows = [
        f'<li><span class="quiet">{number}</span> <a href="#q{number}">{_data(one.query)}</a> '
        f'<span class="quiet">{_count(len(one.found), "moment")}</span></li>'
        for number, one in enumerate(searches, 1)
    ]
    return "\n".join(['<nav aria-label="Queries"><ol>', *rows, "</ol></nav>"])


def _section(number: int, searched: Searched, durations: Mapping[str, float]) -> str:
    """A query, the time lines of its videos, and its moments."""
    found = searched.found
    # Videos come in the order of their best moments.
    videos: dict[str, list[tuple[int, PageMoment]]] = {}
    for rank, moment in enumerate(found, 1):
        videos.setdefault(moment.video_id, []).append((rank, moment))
    parts = [f'<section id="q{number}"><h2>{_data(searched.query)}</h2>']
    if found:
        counts = f"{_count(len(found), 'moment')} in {_count(len(videos), 'video')}"
        parts += [
            f'<p class="quiet">{counts}</p>',
            '<div class="tracks">',
            *(_track(number, ranked, len(found), durations) for ranked in videos.values()),
            "</div>",
            '<ol class="moments">',
            *(_moment(number, rank, one, found[0].score) for rank, one in enumerate(found, 1)),
            "</ol>",
        ]
    else:
        parts.append('<p class="nothing">Nothing was found.</p>')
    parts.append('<p class="up"><a href="#top">↑ Top of the page</a></p></section>')
    return "\n".join(parts)


def _track(
    number: int, ranked: list[tuple[int, PageMoment]], count: int, durations: Mapping[str, float]
) -> str:
    """The time line of a video: a box for each of its moments, numbered by rank.

    Args:
      number: of the query.
      ranked: rank and moment.
      count: moments of the query; the better one is among them, the darker its box.
      durations: see `page`.
    """
    moments = [moment for _, moment in ranked]
    video_id = moments[0].video_id
    length = durations[video_id] if video_id in durations else max(one.end for one in moments)
    spans = [(_share(one.start, length), _share(one.end, length)) for one in moments]
    lanes = _lanes(spans)
    boxes = []
    for (rank, moment), (left, right), lane in zip(ranked, spans, lanes, strict=True):
        top = _EDGE + _LANE * lane
        opacity = _DARKEST - (_DARKEST - _PALEST) * (rank - 1) / max(1, count - 1)
        boxes.append(
            f'<a href="#q{number}m{rank}">'
            f"<title>{rank}: {_times(moment.start, moment.end)}</title>"
            f'<text x="{_percent(_middle(left, right))}" y="{top + _NUMBER_BASE}">{rank}</text>'
            f'<rect class="box" x="{_percent(left)}" y="{top + _BOX_TOP}" '
            f'width="{_percent(right - left)}" height="{_BOX_HEIGHT}" opacity="{opacity:.3f}"/></a>'
        )
    height = 2 * _EDGE + _LANE * (1 + max(lanes))
    return "\n".join(
        [
            f'<div class="track"><p>{_data(video_id)}</p>',
            f'<svg width="100%" height="{height}">',
            '<rect class="ground" width="100%" height="100%" rx="4"/>',
            *boxes,
            "</svg>",
            f'<p class="quiet ends"><span>{clock(0)}</span><span>{clock(length)}</span></p></div>',
        ]
    )


def _share(part: float, whole: float) -> float:
    """From 0 to 1: the last frame of a video may end after it, and a score may be below 0."""
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0


def _middle(left: float, right: float) -> float:
    """Where the number of a box is, so that all of it is on the track."""
    return min(max((left + right) / 2, _HALF_NUMBER), 1 - _HALF_NUMBER)


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """A lane for each box, the highest where it and its number cover no box and number before it.

    Args:
      spans: left and right of boxes, as shares of the track.
    """
    taken: list[list[tuple[float, float]]] = []
    lanes = []
    for left, right in spans:
        middle = _middle(left, right)
        left, right = min(left, middle - _HALF_NUMBER), max(right, middle + _HALF_NUMBER)
        lane = 0
        while lane < len(taken) and any(left < b and a < right for a, b in taken[lane]):
            lane += 1
        if lane == len(taken):
            taken.append([])
        taken[lane].append((left, right))
        lanes.append(lane)
    return lanes


def _moment(number: int, rank: int, found: PageMoment, best: float) -> str:
    """A moment in the list of a query; its bar is as long as its score is of the best."""
    clip = f'<p class="quiet">clip {_data(found.clip_id)}</p>'
    return "\n".join(
        [
            f'<li id="q{number}m{rank}">',
            f'<p class="head"><span class="rank">{rank}</span>'
            f'<span class="video">{_data(found.video_id)}</span>'
            f'<span class="when">{_times(found.start, found.end)}</span>'
            '<span class="quiet score"><svg width="64" height="6" aria-hidden="true">'
            '<rect class="ground" width="100%" height="100%" rx="3"/>'
            f'<rect class="bar" width="{_percent(_share(found.score, best))}" height="100%" '
            f'rx="3"/></svg>score {found.score:.3g}</span></p>',
            *([clip] if found.clip_id != found.video_id else []),
            *_said(found.lines),
            *_pictures(found.frames),
            "</li>",
        ]
    )


def _said(lines: Sequence) -> list[str]:
    rows = [
        f'<li><span class="quiet">{_times(line.start, line.end)}</span> {_data(line.text)}</li>'
        for line in lines
    ]
    return ['<ul class="said">', *rows, "</ul>"] if rows else []


def _pictures(frames: Sequence[tuple[float, bytes]]) -> list[str]:
    """Pictures with their times; what is neither PNG nor JPEG is left out."""
    figures = []
    for second, picture in frames:
        for kind, signature in _SIGNATURES.items():
            if picture.startswith(signature):
                code = base64.b64encode(picture).decode("ascii")
                at = clock(second)
                figures.append(
                    f'<figure><img src="data:{kind};base64,{code}" alt="Frame at {at}"/>'
                    f'<figcaption class="quiet">{at}</figcaption></figure>'
                )
    return ['<div class="frames">', *figures, "</div>"] if figures else []


# Paper stays white in a dark room, so that prints are light.
_STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #1f2328; --quiet: #646b75;
  --line: #e2e4e7; --ground: #eceef0; --accent: #2d64a8; --here: #eef4fb; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #dfe2e6; --quiet: #969da8; --line: #2c3036;
    --ground: #262a2f; --accent: #82b4ee; --here: #1c2530; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { max-width: 52rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 0; font-size: 1.25rem; line-height: 1.3; break-after: avoid; }
p, ol, ul, figure { margin: 0; padding: 0; }
a { color: var(--accent); }
bdi { display: inline-block; max-width: 100%; }
bdi:empty::before { content: "(no text)"; color: var(--quiet); }
.quiet, .nothing, .up { color: var(--quiet); font-size: 0.875em; }
.quiet, .when { font-variant-numeric: tabular-nums; }
nav { margin-top: 1.25rem; }
nav ol { display: grid; grid-template-columns: auto 1fr auto; gap: 0.25rem 0.75rem; }
nav li { display: grid; grid-column: 1 / -1; grid-template-columns: subgrid;
  align-items: baseline; break-inside: avoid; }
nav bdi { display: block; }
nav .quiet { white-space: nowrap; text-align: end; }
section { margin-top: 2.5rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
.nothing { margin-top: 0.75rem; }
.up { margin-top: 1rem; }
.track { margin-top: 1rem; break-inside: avoid; }
.track svg { display: block; overflow: visible; }
.ends { display: flex; justify-content: space-between; font-size: 0.75em; }
.ground { fill: var(--ground); }
.box, .bar { fill: var(--accent); }
.box { stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
.track text { fill: var(--ink); font-size: 12px; text-anchor: middle; }
.track a:hover text { font-weight: 700; text-decoration: underline; }
.moments { margin-top: 1.5rem; list-style: none; }
.moments > li { position: relative; padding: 1rem 0 1rem 1.75rem;
  border-top: 1px solid var(--line); scroll-margin-top: 1rem; break-inside: avoid; }
.moments > li:target { background: var(--here); box-shadow: 0 0 0 0.6rem var(--here); }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 0.75rem; }
.rank { position: absolute; left: 0; color: var(--accent); font-weight: 700; }
.video { font-weight: 600; }
.score { display: flex; align-items: center; gap: 0.5rem; width: 10.5rem; margin-left: auto; }
.said { display: grid; grid-template-columns: auto 1fr; gap: 0 0.75rem; margin-top: 0.5rem;
  list-style: none; }
.said li { display: grid; grid-column: 1 / -1; grid-template-columns: subgrid;
  align-items: baseline; }
.said .quiet { white-space: nowrap; }
.said bdi { justify-self: start; }
.frames { display: flex; flex-wrap: wrap; gap: 0.5rem; margin-top: 0.75rem; }
.frames img { display: block; height: 6rem; max-width: 100%; object-fit: contain;
  border-radius: 3px; background: var(--ground); }
@media (max-width: 30rem) { .score { flex-basis: 100%; }
  .frames img { height: 3.75rem; } }
@media print { :root { --paper: #fff; } .up { display: none; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  section { margin-top: 1.5rem; } }
"""
