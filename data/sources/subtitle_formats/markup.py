"""Reads subtitles in XML: TTML (also called DFXP) and YouTube's srv1, srv2 and srv3."""

import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from data.errors import InputError
from data.report import Report
from data.sources.json_files import Mistake
from data.sources.subtitle_formats.base import FORMATS, Cue, CueLine, Cues, lines_of
from data.sources.subtitle_formats.events import ScreenEvent, cues_of_events

Element = ElementTree.Element
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)(?::(\d+)(?:\.\d+)?)?")
_OFFSET = re.compile(r"(\d+(?:\.\d+)?)(h|m|s|ms|f|t)")
_SPACES = re.compile(r"\s+")


def read_xml(file: Path, text: str, report: Report) -> Cues:
    """Reads the subtitles of a document of one of these kinds.

    Raises:
      InputError: it is not XML, or of another kind.
    """
    try:
        # A declaration names the encoding of bytes, and this is text already.
        root = ElementTree.fromstring(re.sub(r"\A\s*<\?xml[^>]*\?>", "", text).strip())
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{file} is not XML ({error}): save it again") from error
    match _name(root):
        case "tt":
            return _ttml(file, root)
        case "timedtext" | "transcript":
            return cues_of_events(_youtube(file, root))
    raise InputError(
        f"{file} is XML, but no subtitles: its first element is {reprlib.repr(_name(root))} and "
        f"not tt, timedtext or transcript; save it in a format that is read: {FORMATS}"
    )


def _name(element: Element) -> str:
    """Returns the name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _attributes(element: Element) -> dict[str, str]:
    """Returns the attributes without their namespaces."""
    return {name.rpartition("}")[2]: value for name, value in element.attrib.items()}


class _Rates(NamedTuple):
    """Frames and ticks of a second."""

    frames: float
    ticks: float


def _rates(root: Element) -> _Rates:
    attributes = _attributes(root)
    try:
        frames = float(attributes.get("frameRate", 30))
        above, below = map(float, attributes.get("frameRateMultiplier", "1 1").split())
        ticks = float(attributes.get("tickRate", frames if "frameRate" in attributes else 1))
        frames *= above / below
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"the rate of frames or ticks is wrong ({error}): correct it") from error
    if not frames > 0 or not ticks > 0:
        raise InputError("the rate of frames or ticks is not above 0: correct it")
    return _Rates(frames, ticks)


class _Span(NamedTuple):
    """Seconds at which an element begins and ends; None for an end that it does not have."""

    begin: float
    end: float | None


def _ttml(file: Path, root: Element) -> Cues:
    """Yields the paragraphs of a document; times count from the beginning of the element around."""
    try:
        rates = _rates(root)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    # Elements with the span of the element around them; the last is visited first.
    waiting: list[tuple[Element, _Span | Mistake]] = [(root, _Span(0.0, None))]
    number = 0
    while waiting:
        element, around = waiting.pop()
        span = around if isinstance(around, Mistake) else _span(element, around, rates)
        if _name(element) == "p":
            number += 1
            yield f"{file} paragraph {number}", _paragraph(element, span, rates)
        elif _name(element) != "head":
            waiting += [(child, span) for child in reversed(element)]


def _span(element: Element, around: _Span, rates: _Rates) -> _Span | Mistake:
    attributes = _attributes(element)
    try:
        offsets = {
            name: _ttml_seconds(attributes[name], rates)
            for name in ("begin", "end", "dur")
            if name in attributes
        }
    except Mistake as mistake:
        return mistake
    begin = around.begin + offsets.get("begin", 0.0)
    ends = [around.end] if around.end is not None else []
    ends += [around.begin + offsets["end"]] if "end" in offsets else []
    ends += [begin + offsets["dur"]] if "dur" in offsets else []
    return _Span(begin, min(ends, default=None))


def _ttml_seconds(text: str, rates: _Rates) -> float:
    if clock := _CLOCK.fullmatch(text.strip()):
        hours, minutes, seconds = int(clock[1][:18]), int(clock[2]), float(clock[3])
        return 3600 * hours + 60 * minutes + seconds + int((clock[4] or "0")[:9]) / rates.frames
    if offset := _OFFSET.fullmatch(text.strip()):
        units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
        units |= {"f": 1 / rates.frames, "t": 1 / rates.ticks}
        number = float(offset[1])
        return number / 1000 if offset[2] == "ms" else number * units[offset[2]]
    raise Mistake(f"its time is {text!r}")


def _paragraph(element: Element, span: _Span | Mistake, rates: _Rates) -> Cue | Mistake:
    if isinstance(span, Mistake):
        return span
    words = [_span(child, span, rates) for child in element if _name(child) == "span"]
    timed = [
        word
        for word, child in zip(words, (c for c in element if _name(c) == "span"), strict=True)
        if isinstance(word, _Span) and "begin" in _attributes(child)
    ]
    lines = list(_paragraph_lines(element))
    end = span.end if span.end is not None else (timed[-1].end if timed else None)
    if end is None:
        return Mistake("it has no end") if lines else Cue(span.begin, span.begin, ())
    if lines and timed and len(timed) == len(words) and not (element.text or "").strip():
        lines = [line._replace(timed=True) for line in lines]
        lines[0] = lines[0]._replace(start=timed[0].begin)
        lines[-1] = lines[-1]._replace(end=timed[-1].end)
    return Cue(span.begin, end, tuple(lines))


def _paragraph_lines(element: Element) -> Iterator[CueLine]:
    """Yields the lines of a paragraph, which `<br/>` ends."""
    parts: list[str] = []
    # What is to be added, the last first: elements, and the text after one.
    waiting: list[Element | str] = [element]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            parts.append(_SPACES.sub(" ", part))
        elif _name(part) == "br":
            parts.append("\n")
        elif _name(part) != "metadata":
            for child in reversed(part):
                waiting += [child.tail or "", child]
            waiting.append(part.text or "")
    yield from lines_of("".join(parts))


def _youtube(file: Path, root: Element) -> Iterator[tuple[str, ScreenEvent | Mistake]]:
    """Yields the events of srv1 (`<text start dur>`), srv2 (`<text t d>`) and srv3 (`<p t d>`)."""
    elements = [e for e in root.iter() if _name(e) in ("p", "text")]
    for number, element in enumerate(elements, 1):
        attributes = _attributes(element)
        start, lasts, unit = ("start", "dur", 1) if "start" in attributes else ("t", "d", 1000)
        where = f"{file} entry {number}"
        try:
            begin = float(attributes[start])
            end = begin + float(attributes[lasts])
        except (KeyError, ValueError):
            yield where, Mistake(f"it lacks its time {start} or its duration {lasts}")
            continue
        text = "".join(element.itertext())
        yield where, ScreenEvent(begin / unit, end / unit, text, attributes.get("a") == "1")
