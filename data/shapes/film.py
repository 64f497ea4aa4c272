"""Facts about a film of the sample corpus, from its story and its subtitles, for annotations.

Annotations of kind 'v' need the frames: they are about events that no subtitle tells, or about
looks and places, some of which subtitles tell too. Kind 't' needs the subtitles: what they say
cannot be seen. Kind 'vt' needs both: an event of an actor whose name a subtitle introduces, or one
during which something is said.

Stories are symmetric in colours, forms, names, feelings, plans, remarks, places, left and right,
jumping and spinning, growing and shrinking: a story with two of them exchanged is equally likely.
Such an exchange turns questions and statements into others of the same kind, so their words alone
say nothing about the right answer.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from data.schema import RawSubtitle
from data.shapes.narration import describe, sentence
from data.shapes.story import Actor, Event, Story

Moment = tuple[float, float]

_REMARKS = {
    "name": "{what} is the name of {who}",
    "feeling": "{who} feels {what}",
    "plan": "{who} plans to {what}",
    "speech": "{who} says that {what}",
}
_SAID_TO = "{who} says to {whom} that {what}"


@dataclasses.dataclass(frozen=True)
class Remark:
    """Something that a subtitle says and that cannot be seen.

    kind: 'name', 'feeling', 'plan' or 'speech'.
    what: the name, the feeling, and so on.
    who: index into the cast.
    whom: index into the cast of the listener; None except for some speech.
    event: index of the event during which it is said.
    moment: first and last second of the subtitle.
    """

    kind: str
    what: str
    who: int
    whom: int | None
    event: int
    moment: Moment


@dataclasses.dataclass(frozen=True)
class Spell:
    """Time that an actor is on stage in one colour.

    who: index into the cast.
    actor: the actor with that colour.
    moment: first and last second.
    """

    who: int
    actor: Actor
    moment: Moment


@dataclasses.dataclass(frozen=True)
class Film:
    """A film as its annotators know it.

    narration: an entry for each subtitle, see `data.shapes.narration`.
    """

    clip_id: str
    story: Story
    subtitles: Sequence[RawSubtitle]
    narration: Sequence[dict[str, Any]]

    @functools.cached_property
    def looks(self) -> list[tuple[Actor, ...]]:
        """The cast before each event."""
        return list(self.story.looks())

    @functools.cached_property
    def all_looks(self) -> list[tuple[Actor, ...]]:
        """The cast before each event and after the last."""
        # The looks before one more event are those after the last.
        events = (*self.story.events, self.story.events[-1])
        return list(dataclasses.replace(self.story, events=events).looks())

    @functools.cached_property
    def told(self) -> frozenset[int]:
        """Indices of the events that a subtitle tells."""
        return frozenset(entry["event"] for entry in self.narration if entry["kind"] == "event")

    @functools.cached_property
    def main_events(self) -> list[int]:
        """Indices of the events except those that happen beside another one."""
        indices, end = [], 0.0
        for index, event in enumerate(self.story.events):
            if event.start >= end:
                indices.append(index)
                end = event.end
        return indices

    @functools.cached_property
    def remarks(self) -> list[Remark]:
        """The remarks in order of time."""
        return [
            Remark(
                kind=entry["kind"],
                what=self.story.cast[entry["who"]].name
                if entry["kind"] == "name"
                else entry["what"],
                who=entry["who"],
                whom=entry.get("whom"),
                event=self._said_over(subtitle),
                moment=(subtitle.start, subtitle.end),
            )
            for subtitle, entry in zip(self.subtitles, self.narration, strict=True)
            if entry["kind"] != "event"
        ]

    @functools.cached_property
    def named(self) -> dict[int, float]:
        """Actors whose name a subtitle introduces, with the second at which the subtitle ends."""
        return {remark.who: remark.moment[1] for remark in self.remarks if remark.kind == "name"}

    @functools.cached_property
    def spells(self) -> list[Spell]:
        """Spells of all actors that are ever on stage, by actor and in order of time."""
        spells = []
        for who, actor in enumerate(self.story.cast):
            since: float | None = None if actor.x is None else 0.0
            for event in self.story.events:
                if event.who != who or event.what not in ("enter", "leave", "turn"):
                    continue
                if event.what == "enter":
                    since = event.start
                    continue
                # An actor leaves or turns only while it is on stage.
                assert since is not None
                spells.append(Spell(who, actor, (since, event.end)))
                since = event.end if event.what == "turn" else None
                if event.what == "turn":
                    actor = dataclasses.replace(actor, colour=event.colour)
            if since is not None:
                spells.append(Spell(who, actor, (since, self.story.duration)))
        return spells

    def untold_events(self) -> Iterator[tuple[Event, tuple[Actor, ...]]]:
        """Yields the events that no subtitle tells, each with the cast before it."""
        for index, event in enumerate(self.story.events):
            if index not in self.told:
                yield event, self.looks[index]

    def _said_over(self, subtitle: RawSubtitle) -> int:
        """Returns the index of the main event that shares most time with a subtitle."""

        def shared(index: int) -> float:
            event = self.story.events[index]
            return min(event.end, subtitle.end) - max(event.start, subtitle.start)

        return max(self.main_events, key=shared)


def moment(event: Event) -> Moment:
    """Returns the first and last second of an event."""
    return event.start, event.end


def shape(actor: Actor) -> str:
    """Returns a phrase like 'the red circle'."""
    return describe(actor, ("colour", "form"))


def tell_remark(film: Film, remark: Remark, cast: Sequence[Actor] | None = None) -> str:
    """Returns a remark in other words than the subtitle's.

    Args:
      film: the film.
      remark: one of its remarks.
      cast: the cast with the looks to mention; None for those at the time of the remark.
    """
    cast = cast or film.looks[remark.event]
    form = _REMARKS[remark.kind] if remark.whom is None else _SAID_TO
    whom = "" if remark.whom is None else shape(cast[remark.whom])
    return form.format(who=shape(cast[remark.who]), whom=whom, what=remark.what)


def tell_plainly(event: Event, who: str, whom: str, variant: int) -> str:
    """Returns `narration.sentence` without the speed of a move."""
    plain = dataclasses.replace(event, how="") if event.how else event
    return sentence(plain, who, whom, variant)
