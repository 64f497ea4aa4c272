"""YouTube's events, in which recognised speech stays on the screen while the next line comes."""

from collections.abc import Iterable
from typing import NamedTuple

from data.sources.json_files import Mistake
from data.sources.subtitle_formats.base import Cue, Cues, lines_of


class ScreenEvent(NamedTuple):
    """A text that appears at `start` and is gone at `end`, in seconds.

    appends: whether it is added to what its window shows; a line break that is added moves the line
      before it up, when its words have been said.
    """

    start: float
    end: float
    text: str
    appends: bool


def cues_of_events(events: Iterable[tuple[str, ScreenEvent | Mistake]]) -> Cues:
    """Yields the subtitles of events: each is said until the next is added to its window.

    Events without text only move the lines.
    """
    last: tuple[str, ScreenEvent] | None = None
    for where, event in events:
        if isinstance(event, Mistake):
            yield where, event
            continue
        if last is not None:
            if event.appends and last[1].start <= event.start < last[1].end:
                last = last[0], last[1]._replace(end=event.start)
            yield from _cue(*last)
        last = where, event
    if last is not None:
        yield from _cue(*last)


def _cue(where: str, event: ScreenEvent) -> Cues:
    if event.text.strip():
        yield where, Cue(event.start, event.end, lines_of(event.text))
