"""Text output of a search, for programs and for people."""

import dataclasses
import json
from collections.abc import Sequence

from data.text import plain
from data.times import clock
from hero_jax.search.found import FoundMoment

LONGEST_SENTENCE = 200  # Characters of a sentence that a table shows.


def json_line(sentence: str, found: Sequence[FoundMoment]) -> str:
    """Formats the moments of a sentence as a line of JSON."""
    moments = [dataclasses.asdict(moment) for moment in found]
    return json.dumps({"query": sentence, "found": moments}, ensure_ascii=False)


def table(sentence: str, found: Sequence[FoundMoment]) -> str:
    """Formats the moments of a sentence as lines, with the subtitles of each below it."""
    is_long = len(sentence) > LONGEST_SENTENCE
    lines = [plain(sentence[:LONGEST_SENTENCE]) + "…" * is_long]
    names = [plain(moment.video_id) for moment in found]
    width = max(map(len, names), default=0)
    for rank, (name, moment) in enumerate(zip(names, found, strict=True), 1):
        times = f"{clock(moment.start)}–{clock(moment.end)}"
        lines.append(f"{rank:4}  {name:<{width}}  {times:<15} {moment.score:10.4g}")
        lines += [f"        {clock(line.start):>7}  {plain(line.text)}" for line in moment.lines]
    if not found:
        lines.append("      nothing is found")
    return "\n".join(lines) + "\n"
