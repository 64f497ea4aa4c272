"""Reads SubStation Alpha: .ass and .ssa files."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.errors import InputError
from data.report import Report
from data.sources.json_files import Mistake
from data.sources.subtitle_formats.base import Cue, CueLine, Cues, numbered_lines
from data.sources.subtitle_formats.clock import seconds

# The fields of an event in files that do not name them.
FIELDS = ["layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect"]
FIELDS += ["text"]
_LAYERS = "subtitles that are shown in several layers: kept once"
_OVERRIDES = re.compile(r"\{([^{}]*)\}")
# `\p1` and higher numbers begin a drawing, `\p0` ends it.
_DRAWING = re.compile(r"\\p(\d+)")
# Hundredths of a second that a syllable lasts.
_SYLLABLE = re.compile(r"\\(?:k[fot]?|K)(\d+)")


def read_substation(file: Path, text: str, report: Report) -> Cues:
    """Reads the events of the section `[Events]`; comments and drawings are not shown.

    Raises:
      InputError: the file has no events.
    """
    events = list[tuple[str, Sequence[str], Sequence[str]]]()
    section, fields, any_section = "[events]", FIELDS, False
    for number, line in numbered_lines(text):
        if line.lstrip().startswith("["):
            section = line.strip().lower()
            any_section |= section == "[events]"
            continue
        name, _, value = line.partition(":")
        if section != "[events]" or name.strip().lower() not in ("format", "dialogue"):
            continue
        any_section = True
        if name.strip().lower() == "format":
            fields = [field.strip().lower() for field in value.split(",")]
            continue
        # The text comes last, and may have commas.
        values = [part.strip() for part in value.split(",", len(fields) - 1)]
        events.append((f"{file} line {number}", fields, values))
    yield from cues_of_dialogue(events, report)
    if not any_section:
        raise InputError(f"{file} has no section [Events]: save it as SubStation Alpha again")


def cues_of_dialogue(
    events: Iterable[tuple[str, Sequence[str], Sequence[str]]], report: Report
) -> Cues:
    """Reads events: the place, the names of the fields and the fields of each.

    What several layers show at a time is kept once, which is counted.
    """
    seen: set[tuple[str, ...]] = set()
    for where, fields, values in events:
        try:
            cue = _cue(fields, values)
        except Mistake as mistake:
            yield where, mistake
            continue
        event = dict(zip(fields, values, strict=True))
        words = event["start"], event["end"], cue.text
        if words in seen and cue.text:
            report.add(_LAYERS, where)
            continue
        seen.add(words)
        yield where, cue


def _cue(fields: Sequence[str], values: Sequence[str]) -> Cue:
    if len(values) != len(fields) or not {"start", "end", "text"} <= set(fields):
        raise Mistake(
            f"it has {len(values)} fields instead of {len(fields)}, with start, end, text"
        )
    event = dict(zip(fields, values, strict=True))
    start, end = seconds(event["start"]), seconds(event["end"])
    shown, first, last = _syllables(event["text"])
    lines = [" ".join(line.split()) for line in re.split(r"\\[Nn]", shown.replace("\\h", " "))]
    made = [CueLine(line, last > 0) for line in lines if line]
    if made and last > 0:
        made[0] = made[0]._replace(start=start + first)
        made[-1] = made[-1]._replace(end=start + last)
    return Cue(start, end, tuple(made))


def _syllables(text: str) -> tuple[str, float, float]:
    """Returns a text without override blocks, and the span of its syllables if they are timed.

    The span is in seconds after the start of the event; it ends at 0 if they are not timed.
    """
    shown: list[str] = []
    is_drawing = is_begun = False
    time = lasts = first = last = 0.0
    for index, part in enumerate(_OVERRIDES.split(text)):
        if index % 2:  # Between the text before and after it.
            for level in _DRAWING.findall(part):
                is_drawing = int(level[:9]) > 0
            for length in _SYLLABLE.findall(part):
                time, lasts = time + lasts, int(length[:9]) / 100
            continue
        if is_drawing:
            continue
        if part.strip():
            first, last = (first if is_begun else time), time + lasts
            is_begun = True
        shown.append(part)
    return "".join(shown), first, last
