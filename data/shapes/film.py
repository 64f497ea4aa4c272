"""What can be annotated in a film of the sample corpus, found in its story and its subtitles.

Annotations of kind 'v' take the frames: they are about events that no subtitle tells, or about
looks and places, some of which subtitles tell too. Kind 't' takes the subtitles: what they say and
nobody sees. Kind 'vt' takes both: such an event of somebody whose name a subtitle gives, or while
something is said.

Stories treat colours alike, and forms, names, feelings, plans, remarks, places, left and right,
jumping and spinning, growing and shrinking: a story with two of them exchanged is as likely as
before. Questions and statements are made so that they stay the same kind of question under such an
exchange, which is why their words alone tell nothing about what is right.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

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
    """What a subtitle says and nobody sees.

    kind: 'name', 'feeling', 'plan' or 'speech'.
    what: the name, the feeling, and so on.
    who, whom: indices into the cast; whom, who is spoken to, is None but for speech.
    event: index of the event that it is said over.
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
    """Somebody is on stage, in one colour, for this long."""

    who: int
    actor: Actor
    moment: Moment


@dataclasses.dataclass(frozen=True)
class Film:
    """A film as its annotators know it; narration is as in `data.shapes.narration`."""

    clip_id: str
    story: Story
    subtitles: Sequence[RawSubtitle]
    narration: Sequence[dict]

    @functools.cached_property
    def looks(self) -> list[tuple[Actor, ...]]:
        """The cast as each event finds it."""
        return list(self.story.looks())

    @functools.cached_property
    def all_looks(self) -> list[tuple[Actor, ...]]:
        """The same, and the cast as the last event leaves it."""
        # Looks are those before an event: one more event shows what the last one did.
        events = (*self.story.events, self.story.events[-1])
        return list(dataclasses.replace(self.story, events=events).looks())

    @functools.cached_property
    def told(self) -> frozenset[int]:
        """The events that a subtitle tells."""
        return frozenset(entry["event"] for entry in self.narration if entry["kind"] == "event")

    @functools.cached_property
    def main_events(self) -> list[int]:
        """The events but for those that happen beside another one."""
        found, end = [], 0.0
        for index, event in enumerate(self.story.events):
            if event.start >= end:
                found.append(index)
                end = event.end
        return found

    @functools.cached_property
    def remarks(self) -> list[Remark]:
        """In order of time."""
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
        """Whose name a subtitle gives, and from when it is known (seconds)."""
        return {remark.who: remark.moment[1] for remark in self.remarks if remark.kind == "name"}

    @functools.cached_property
    def spells(self) -> list[Spell]:
        """Of everybody who is ever seen, by actor and in order of time."""
        found = []
        for who, actor in enumerate(self.story.cast):
            since = None if actor.x is None else 0.0
            for event in self.story.events:
                if event.who != who or event.what not in ("enter", "leave", "turn"):
                    continue
                if event.what == "enter":
                    since = event.start
                    continue
                found.append(Spell(who, actor, (since, event.end)))
                since = event.end if event.what == "turn" else None
                if event.what == "turn":
                    actor = dataclasses.replace(actor, colour=event.colour)
            if since is not None:
                found.append(Spell(who, actor, (since, self.story.duration)))
        return found

    def unseen_by_readers(self) -> Iterator[tuple[Event, tuple[Actor, ...]]]:
        """The events that no subtitle tells, each with the cast as it finds it."""
        for index, event in enumerate(self.story.events):
            if index not in self.told:
                yield event, self.looks[index]

    def _said_over(self, subtitle: RawSubtitle) -> int:
        """The main event that shares most time with a subtitle, whose slot it has."""

        def shared(index):
            event = self.story.events[index]
            return min(event.end, subtitle.end) - max(event.start, subtitle.start)

        return max(self.main_events, key=shared)


def moment(event: Event) -> Moment:
    """First and last second of an event."""
    return event.start, event.end


def shape(actor: Actor) -> str:
    """'the red circle'."""
    return describe(actor, ("colour", "form"))


def tell_remark(film: Film, remark: Remark, cast: Sequence[Actor] | None = None) -> str:
    """What a remark says, in other words than the subtitle's; by the looks of `cast`, or then."""
    cast = cast or film.looks[remark.event]
    form = _REMARKS[remark.kind] if remark.whom is None else _SAID_TO
    whom = "" if remark.whom is None else shape(cast[remark.whom])
    return form.format(who=shape(cast[remark.who]), whom=whom, what=remark.what)


def tell_plainly(event: Event, who: str, whom: str, variant: int) -> str:
    """`sentence` without how quickly something moves."""
    return sentence(dataclasses.replace(event, how=""), who, whom, variant)
