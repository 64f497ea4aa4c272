"""Stories of the sample corpus: a cast of coloured shapes and what each of them does, and when.

A story is drawn first; pictures, features and subtitles are all made from it. Positions are pixels
of the frame (x to the right, y downwards), times are seconds from the start of the film.
"""

import dataclasses
import json
import random
from collections.abc import Callable, Iterator

from data.errors import InputError

VERSION = 1
FRAME_SIZE = 48

COLOURS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
FORMS = ("circle", "square", "triangle", "star", "cross", "ring", "oval")
SIZES = ("small", "big")
PLACES = ("meadow", "beach", "desert", "snow", "city", "forest")
NAMES = (
    *("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ivo", "Jo", "Kim", "Leo"),
    *("Mia", "Ned", "Ola", "Pia", "Quin", "Ravi", "Sam", "Tess", "Uma", "Vik", "Wes", "Yara"),
)

_LEFT, _RIGHT = 8.0, FRAME_SIZE - 8.0
_HIGH, _MIDDLE, _LOW = 13.0, 23.0, 39.0
_APART = 13.0  # two big shapes at this distance barely touch


@dataclasses.dataclass(frozen=True)
class Actor:
    """One of the cast as the film begins. x and y are None for those who are not on stage yet."""

    name: str
    colour: str
    form: str
    size: str
    x: float | None = None
    y: float | None = None


@dataclasses.dataclass(frozen=True)
class Event:
    """Somebody does something.

    what: one of `ACTIONS`.
    who, whom: indices into the cast; whom is None for what one does alone.
    x, y, whom_x, whom_y: where they are at the end; None for who leaves.
    side: 'left', 'right' or 'sky', where the action has one.
    how: 'slowly', 'quickly' or '', for 'move'.
    colour: the new one, for 'turn'.
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


@dataclasses.dataclass(frozen=True)
class Story:
    """day: hour of the day at the first and last moment, 0 at dawn, 1 at midnight.

    decor: seeds the looks of the place (skyline, tint).
    events are ordered by their start; one actor never does two things at once.
    """

    duration: float
    place: str
    day: tuple[float, float]
    decor: int
    cast: tuple[Actor, ...]
    events: tuple[Event, ...]

    def hour(self, time: float) -> float:
        """Hour of the day at a moment of the film."""
        begin, end = self.day
        return begin + (end - begin) * time / self.duration

    def looks(self) -> Iterator[tuple[Actor, ...]]:
        """The cast as each event finds it: colour, size and place then, x None when off stage."""
        cast = list(self.cast)
        for event in self.events:
            yield tuple(cast)
            _apply(cast, event)


def to_json(story: Story, narration: list[dict]) -> str:
    """Compact JSON of a story and of what its subtitles tell; fields that say nothing are left out.

    narration has one entry per subtitle, see `data.shapes.narration`.
    """

    def told(value):
        return {key: entry for key, entry in vars(value).items() if entry not in (None, "")}

    fields = {
        **{"version": VERSION, **vars(story)},
        "cast": [told(actor) for actor in story.cast],
        "events": [told(event) for event in story.events],
        "narration": narration,
    }
    return json.dumps(fields, separators=(",", ":"))


def from_json(text: str) -> tuple[Story, list[dict]]:
    """The story and the narration that `to_json` wrote; InputError if of another version."""
    fields = json.loads(text)
    if (version := fields.pop("version", None)) != VERSION:
        raise InputError(
            f"the clip's story has version {version}, not {VERSION}; build the sample corpus again"
        )
    narration = fields.pop("narration")
    fields["day"] = tuple(fields["day"])
    fields["cast"] = tuple(Actor(**actor) for actor in fields["cast"])
    fields["events"] = tuple(Event(**event) for event in fields["events"])
    return Story(**fields), narration


def tell(rng: random.Random) -> Story:
    """Draws a story of 50 to 70 seconds with three to five actors."""
    duration = round(rng.uniform(50, 70), 2)
    size = rng.choices((3, 4, 5), weights=(4, 5, 1))[0]
    cast = [
        Actor(name, colour, form, rng.choice(SIZES))
        for name, colour, form in zip(
            rng.sample(NAMES, size), rng.sample(COLOURS, size), rng.sample(FORMS, size), strict=True
        )
    ]
    for who in range(rng.choice((1, 2))):
        x, y = _free_spot(rng, cast, who)
        cast[who] = dataclasses.replace(cast[who], x=x, y=y)
    opening = tuple(cast)
    events = []
    now = rng.uniform(0.4, 1.5)
    while now < duration - 2.5:
        event = _next_event(rng, cast, now, duration)
        events.append(event)
        _apply(cast, event)
        idle = [who for who in _present(cast) if who not in (event.who, event.whom)]
        if idle and rng.random() < 0.2:
            start = event.start + rng.uniform(0.05, 0.4)
            what = rng.choice(("jump", "spin", "grow", "shrink", "shake", "turn"))
            plan = ACTIONS[what].plan(rng, cast, rng.choice(idle))
            if plan is not None:
                beside = Event(what, start=round(start, 2), end=event.end, **plan)
                events.append(beside)
                _apply(cast, beside)
        now = event.end + rng.uniform(0.1, 0.9)
    begin = rng.uniform(0.0, 0.35)
    day = (round(begin, 3), round(begin + rng.uniform(0.45, 0.65), 3))
    place = rng.choice(PLACES)
    return Story(duration, place, day, rng.randrange(2**31), opening, tuple(events))


def _next_event(rng: random.Random, cast: list[Actor], now: float, duration: float) -> Event:
    absent = [who for who in range(len(cast)) if cast[who].x is None]
    eagerness = 6.0 if now < 0.4 * duration else 1.5
    weights = [
        eagerness * len(absent) if what == "enter" else action.weight
        for what, action in ACTIONS.items()
    ]
    while True:
        what = rng.choices(list(ACTIONS), weights=weights)[0]
        who = rng.choice(absent if what == "enter" else _present(cast))
        plan = ACTIONS[what].plan(rng, cast, who)
        if plan is None:
            continue
        shortest, longest = ACTIONS[what].seconds
        end = min(now + rng.uniform(shortest, longest), duration - 0.2)
        if what == "move":
            speed = abs(plan["x"] - cast[who].x) / (end - now)
            plan["how"] = "slowly" if speed < 5 else "quickly" if speed > 9 else ""
        return Event(what, start=round(now, 2), end=round(end, 2), **plan)


def _apply(cast: list[Actor], event: Event) -> None:
    """Moves the cast on to the end of an event."""
    changes = {"x": event.x, "y": event.y}
    if event.what in _SIZE_AFTER:
        changes["size"] = _SIZE_AFTER[event.what]
    if event.what == "turn":
        changes["colour"] = event.colour
    cast[event.who] = dataclasses.replace(cast[event.who], **changes)
    if event.whom is not None:
        cast[event.whom] = dataclasses.replace(cast[event.whom], x=event.whom_x, y=event.whom_y)


def _present(cast: list[Actor]) -> list[int]:
    return [who for who, actor in enumerate(cast) if actor.x is not None]


def _distance(cast: list[Actor], who: int, x: float, y: float) -> float:
    """To the nearest of the others."""
    others = [cast[other] for other in _present(cast) if other != who]
    return min((((a.x - x) ** 2 + (a.y - y) ** 2) ** 0.5 for a in others), default=99.0)


def _free_spot(
    rng: random.Random,
    cast: list[Actor],
    who: int,
    left: float = _LEFT,
    right: float = _RIGHT,
    high: float = _MIDDLE,
    low: float = _LOW,
) -> tuple[float, float]:
    """Of six spots drawn in a rectangle, the one farthest from everybody else."""
    spots = [
        (round(rng.uniform(left, right), 1), round(rng.uniform(high, low), 1)) for _ in range(6)
    ]
    return max(spots, key=lambda spot: min(_distance(cast, who, *spot), _APART))


# A plan gives the fields of an event other than its time, or None where the action is impossible.
Plan = dict | None


def _stay(cast: list[Actor], who: int, **fields) -> dict:
    return {"who": who, "x": cast[who].x, "y": cast[who].y, **fields}


def _partner(rng: random.Random, cast: list[Actor], who: int) -> int | None:
    others = [other for other in _present(cast) if other != who]
    return rng.choice(others) if others else None


def _enter(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    x, y = _free_spot(rng, cast, who)
    return {"who": who, "x": x, "y": y, "side": rng.choice(("left", "right", "sky"))}


def _leave(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    if len(_present(cast)) < 3:
        return None
    return {"who": who, "side": rng.choice(("left", "right", "sky"))}


def _move(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    side = rng.choice(("left", "right"))
    actor = cast[who]
    left, right = (_LEFT, actor.x - 12) if side == "left" else (actor.x + 12, _RIGHT)
    if left > right:
        return None
    x, _ = _free_spot(rng, cast, who, left, right, actor.y, actor.y)
    return _stay(cast, who, side=side) | {"x": x}


def _rise(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    if cast[who].y < _MIDDLE:
        return None
    y = round(rng.uniform(_HIGH, cast[who].y - 9), 1)
    return _stay(cast, who) | {"y": y}


def _sink(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    if cast[who].y > _LOW - 10:
        return None
    y = round(rng.uniform(cast[who].y + 9, _LOW), 1)
    return _stay(cast, who) | {"y": y}


def _in_place(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    return _stay(cast, who)


def _grow(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    return _stay(cast, who) if cast[who].size == "small" else None


def _shrink(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    return _stay(cast, who) if cast[who].size == "big" else None


def _turn(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    worn = {actor.colour for actor in cast}
    return _stay(cast, who, colour=rng.choice([c for c in COLOURS if c not in worn]))


def _with(cast: list[Actor], whom: int, **fields) -> dict:
    return {"whom": whom, "whom_x": cast[whom].x, "whom_y": cast[whom].y, **fields}


def _jump_over(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    whom = _partner(rng, cast, who)
    if whom is None:
        return None
    side = "right" if cast[who].x < cast[whom].x else "left"
    x = cast[whom].x + rng.uniform(12, 15) * (1 if side == "right" else -1)
    if not _LEFT <= x <= _RIGHT or abs(cast[who].x - cast[whom].x) < 8:
        return None
    return _stay(cast, who, side=side) | _with(cast, whom, x=round(x, 1))


def _meet(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    whom = _partner(rng, cast, who)
    if whom is None or _distance([cast[who], cast[whom]], 0, cast[who].x, cast[who].y) < 20:
        return None
    sign = 1 if cast[who].x < cast[whom].x else -1
    x = min(max((cast[who].x + cast[whom].x) / 2, _LEFT + 6), _RIGHT - 6)
    y = (cast[who].y + cast[whom].y) / 2
    ends = {"x": round(x - sign * 6, 1), "y": round(y, 1)}
    return {"who": who, "whom": whom, "whom_x": round(x + sign * 6, 1), "whom_y": ends["y"], **ends}


def _circle(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    whom = _partner(rng, cast, who)
    return None if whom is None else _stay(cast, who) | _with(cast, whom)


def _follow(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    whom = _partner(rng, cast, who)
    if whom is None or abs(cast[who].x - cast[whom].x) < 9:
        return None
    side = "right" if cast[who].x < cast[whom].x else "left"
    reach = _RIGHT - cast[whom].x if side == "right" else cast[whom].x - _LEFT
    if reach < 10:
        return None
    step = round(rng.uniform(10, reach) * (1 if side == "right" else -1), 1)
    moved = {"x": round(cast[who].x + step, 1), "whom_x": round(cast[whom].x + step, 1)}
    return _stay(cast, who, side=side) | _with(cast, whom) | moved


@dataclasses.dataclass(frozen=True)
class Action:
    """weight: how often, relative to the others. seconds: shortest and longest."""

    weight: float
    seconds: tuple[float, float]
    plan: Callable[[random.Random, list[Actor], int], Plan]


ACTIONS = {
    "enter": Action(0.0, (1.8, 3.0), _enter),  # as many as are missing: see _next_event
    "leave": Action(1.2, (1.8, 3.0), _leave),
    "move": Action(5.0, (1.4, 4.4), _move),
    "rise": Action(3.0, (1.8, 3.0), _rise),
    "sink": Action(3.0, (1.8, 3.0), _sink),
    "jump": Action(1.6, (1.8, 3.2), _in_place),
    "spin": Action(1.6, (1.8, 3.4), _in_place),
    "shake": Action(1.5, (1.6, 2.6), _in_place),
    "grow": Action(2.2, (1.8, 3.2), _grow),
    "shrink": Action(2.2, (1.8, 3.2), _shrink),
    "turn": Action(1.0, (1.6, 2.6), _turn),
    "jump_over": Action(12.0, (1.8, 3.0), _jump_over),
    "meet": Action(6.0, (2.0, 3.6), _meet),
    "circle": Action(2.0, (3.2, 5.0), _circle),
    "follow": Action(8.0, (2.4, 4.0), _follow),
}

_SIZE_AFTER = {"grow": "big", "shrink": "small"}
