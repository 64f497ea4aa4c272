"""Stories of the sample corpus: a cast of coloured shapes, and what each of them does when.

A story is drawn first (see `data.shapes.plot`); images, features and subtitles are made from it.
Positions are pixels of the frame (x to the right, y downwards), times are seconds from the start of
the film.
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from data.errors import InputError

VERSION = 1
FRAME_SIZE = 48
# Of video files: pixels on each side for one of a frame, and frames a second.
ENLARGED = 8
VIDEO_RATE = 24

COLOURS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
FORMS = ("circle", "square", "triangle", "star", "cross", "ring", "oval")
SIZES = ("small", "big")
PLACES = ("meadow", "beach", "desert", "snow", "city", "forest")
NAMES = (
    *("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ivo", "Jo", "Kim", "Leo"),
    *("Mia", "Ned", "Ola", "Pia", "Quin", "Ravi", "Sam", "Tess", "Uma", "Vik", "Wes", "Yara"),
)

_SIZE_AFTER = {"grow": "big", "shrink": "small"}

_Time = TypeVar("_Time", float, np.ndarray)


@dataclasses.dataclass(frozen=True)
class Actor:
    """A member of the cast as the film begins; x and y are None for an actor off stage."""

    name: str
    colour: str
    form: str
    size: str
    x: float | None = None
    y: float | None = None

    @property
    def position(self) -> tuple[float, float]:
        """The x and y of an actor on stage."""
        return _position(self.x, self.y)


@dataclasses.dataclass(frozen=True)
class Event:
    """An action of one actor, or of two.

    what: one of `plot.ACTIONS`.
    who: index into the cast.
    start, end: seconds.
    x, y: position of `who` at the end; None after leaving.
    whom: index into the cast of the second actor; None for an action of one.
    whom_x, whom_y: position of `whom` at the end.
    side: 'left', 'right' or 'sky' if the action has one, else ''.
    how: 'slowly', 'quickly' or '' if the action is 'move', else ''.
    colour: new colour if the action is 'turn', else ''.
    """

    what: str
    who: int
    start: float
    end: float
    x: float | None = None
    y: float | None = None
    whom: int | None = None
    whom_x: float | None = None
    whom_y: float | None = None
    side: str = ""
    how: str = ""
    colour: str = ""

    @property
    def position(self) -> tuple[float, float]:
        """The x and y of `who` at the end of an event after which it is on stage."""
        return _position(self.x, self.y)

    @property
    def whom_position(self) -> tuple[float, float]:
        """The x and y of `whom` at the end of an event of two actors."""
        return _position(self.whom_x, self.whom_y)


def _position(x: float | None, y: float | None) -> tuple[float, float]:
    if x is None or y is None:
        raise ValueError("an actor off stage has no position")
    return x, y


@dataclasses.dataclass(frozen=True)
class Story:
    """The plot of a film and its setting.

    duration: seconds.
    place: one of `PLACES`.
    day: hour of the day at the first and the last moment, 0 at dawn, 1 at midnight.
    decor: seed of the place's looks (skyline, tint).
    cast: actors as the film begins.
    events: events by start; an actor never takes part in two at once.
    """

    duration: float
    place: str
    day: tuple[float, float]
    decor: int
    cast: tuple[Actor, ...]
    events: tuple[Event, ...]

    def hour(self, time: _Time) -> _Time:
        """Returns the hour of the day at one or more moments of the film."""
        begin, end = self.day
        return begin + (end - begin) * time / self.duration

    def looks(self) -> Iterator[tuple[Actor, ...]]:
        """Yields the cast before each event, with its colours, sizes and positions then."""
        cast = list(self.cast)
        for event in self.events:
            yield tuple(cast)
            apply_event(cast, event)


def apply_event(cast: list[Actor], event: Event) -> None:
    """Updates the cast to the end of an event."""
    who = cast[event.who]
    colour = event.colour if event.what == "turn" else who.colour
    size = _SIZE_AFTER.get(event.what, who.size)
    # dataclasses.replace would take twice as long; the questions of a film need ten stories.
    cast[event.who] = Actor(who.name, colour, who.form, size, event.x, event.y)
    if event.whom is not None:
        whom = cast[event.whom]
        cast[event.whom] = Actor(
            whom.name, whom.colour, whom.form, whom.size, event.whom_x, event.whom_y
        )


def to_json(story: Story, narration: list[dict[str, Any]]) -> str:
    """Returns compact JSON of a story and its narration, without the fields that are empty.

    Args:
      story: the story.
      narration: an entry for each subtitle, see `data.shapes.narration`.
    """

    def filled(part: Actor | Event) -> dict[str, Any]:
        return {key: entry for key, entry in vars(part).items() if entry not in (None, "")}

    fields = {
        **{"version": VERSION, **vars(story)},
        "cast": [filled(actor) for actor in story.cast],
        "events": [filled(event) for event in story.events],
        "narration": narration,
    }
    return json.dumps(fields, separators=(",", ":"))


def from_json(text: str) -> tuple[Story, list[dict[str, Any]]]:
    """Returns the story and the narration that `to_json` wrote.

    Raises:
      InputError: the JSON is of another version.
    """
    fields = json.loads(text)
    if (version := fields.pop("version", None)) != VERSION:
        raise InputError(
            f"the clip's story has version {version}, not {VERSION}: build the sample corpus again"
        )
    narration = fields.pop("narration")
    fields["day"] = tuple(fields["day"])
    fields["cast"] = tuple(Actor(**actor) for actor in fields["cast"])
    fields["events"] = tuple(Event(**event) for event in fields["events"])
    return Story(**fields), narration
