"""Rolling captions: each line is shown again while the next one comes.

Recognised speech is published so: a line grows word by word or has times of its words, stays for
some milliseconds, and moves up when the next line begins. Each phrase is kept once, at the time it
is first said.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data.report import Report
from data.sources.subtitle_formats.base import Cue, CueLine

REPEATS = "rolling captions that repeat the one before them: repeated words left out"
# Seconds from the end of a caption to the next, at most, if the next repeats it on the screen.
_GAP = 0.1
# Seconds in which nobody says a line again.
_MOMENT = 0.05
# Longest list of phrases that a caption is compared with.
_MOST_SHOWN = 50


class _Phrase(NamedTuple):
    """Words that came with one caption, and the number of the subtitle that they belong to."""

    words: tuple[str, ...]
    row: int


@dataclasses.dataclass
class _Rolled:
    """Captions without what they repeat, and the signs that they are rolling.

    rows: the subtitles.
    steps: number of captions after the first.
    repeats: captions that begin with words of the one before.
    carries: those of them that bring new words.
    surest: repeats that no speaker makes: for a moment only, or before words with times.
    places: where the repeats are.
    """

    rows: list[Cue]
    steps: int = 0
    repeats: int = 0
    carries: int = 0
    surest: int = 0
    places: list[str] = dataclasses.field(default_factory=list)

    def are_rolling(self) -> bool:
        """Returns whether most captions repeat the one before, as no speaker does."""
        is_sign = self.carries > 1 or self.surest > 0
        return is_sign and 2 * self.repeats >= self.steps


def without_repeats(cues: Sequence[tuple[str, Cue]], report: Report) -> list[Cue]:
    """Returns subtitles, each phrase of rolling captions once.

    Subtitles in which somebody repeats himself do not roll: there, few begin with words of the one
    before and go on with others.

    Args:
      cues: the place and the subtitle, in the file's order, all with text and sound times.
      report: counts the repeats.
    """
    rolled = _roll(cues)
    if not rolled.are_rolling():
        return [cue.spoken() for _, cue in cues]
    for place in rolled.places:
        report.add(REPEATS, place)
    return rolled.rows


def _roll(cues: Iterable[tuple[str, Cue]]) -> _Rolled:
    rolled = _Rolled([])
    shown: list[_Phrase] = []
    before: Cue | None = None
    for where, cue in cues:
        if before is not None:
            rolled.steps += 1
            if not before.start <= cue.start <= before.end + _GAP:
                shown = []
        carried = _carried(shown, cue.lines)
        if carried and before is not None:
            rolled.repeats += 1
            rolled.surest += _is_of_a_moment(before, cue)
            rolled.places.append(where)
        shown = (carried + _take_new(rolled, cue, carried))[-_MOST_SHOWN:]
        before = cue
    return rolled


def _is_of_a_moment(before: Cue, cue: Cue) -> bool:
    """Returns whether a caption repeats a longer one for a time in which nobody says anything."""
    return before.end - before.start > _MOMENT >= cue.end - cue.start > 0


def _carried(shown: list[_Phrase], lines: Sequence[CueLine]) -> list[_Phrase]:
    """Returns the last of the shown phrases that the lines repeat, as many as they do.

    Words with times are said now.
    """
    words: list[str] = []
    for line in lines:
        of_line = line.text.split()
        words += of_line[: line.untimed] if line.timed else of_line
        if line.timed:
            break
    for first in range(len(shown)):
        repeated = [word for phrase in shown[first:] for word in phrase.words]
        if words[: len(repeated)] == repeated:
            return shown[first:]
    return []


def _take_new(rolled: _Rolled, cue: Cue, carried: list[_Phrase]) -> list[_Phrase]:
    """Adds what a caption brings to the rows, and returns it as phrases."""
    repeated = [word for phrase in carried for word in phrase.words]
    growth, lines = _after(cue.lines, len(repeated))
    new = [*growth, *(word for line in lines for word in line.text.split())]
    if not new:
        return []
    if carried and not set(new) <= set(repeated):
        rolled.carries += 1
        rolled.surest += any(line.timed for line in lines)
    phrases = []
    if growth:
        row = carried[-1].row
        # A row grows while all of it is shown; after that, its end alone is repeated.
        is_whole = sum(len(p.words) for p in carried if p.row == row) == len(
            rolled.rows[row].text.split()
        )
        added = CueLine(" ".join(growth))
        if is_whole:
            grown = rolled.rows[row]
            rolled.rows[row] = Cue(grown.start, cue.end, (*grown.lines, added))
        else:
            row = len(rolled.rows)
            rolled.rows.append(Cue(cue.start, cue.end, (added,)))
        phrases.append(_Phrase(tuple(growth), row))
    if lines:
        phrases += [_Phrase(tuple(line.text.split()), len(rolled.rows)) for line in lines]
        rolled.rows.append(Cue(cue.start, cue.end, tuple(lines)).spoken())
    return phrases


def _after(lines: Sequence[CueLine], count: int) -> tuple[list[str], list[CueLine]]:
    """Returns what follows a number of words: the rest of their line, and the lines below."""
    for index, line in enumerate(lines):
        words = line.text.split()
        if count < len(words):
            return (words[count:], [*lines[index + 1 :]]) if count else ([], [*lines[index:]])
        count -= len(words)
    return [], []
