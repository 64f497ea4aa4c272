"""Draws the plots of the sample corpus: who does what, for how long, and where it leads."""

import dataclasses
import itertools
import random
from collections.abc import Callable
from typing import Any

from data.shapes.story import (
    COLOURS,
    FORMS,
    FRAME_SIZE,
    NAMES,
    PLACES,
    SIZES,
    Actor,
    Event,
    Story,
    apply_event,
)

_LEFT, _RIGHT = 8.0, FRAME_SIZE - 8.0
_HIGH, _MIDDLE, _LOW = 13.0, 23.0, 39.0
_APART = 13.0  # two big shapes at this distance barely touch

# Fields of an event other than its time; None if the action is impossible.
Plan = dict[str, Any] | None


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
        x, y = _free_position(rng, cast, who)
        cast[who] = dataclasses.replace(cast[who], x=x, y=y)
    opening = tuple(cast)
    events: list[Event] = []
    now = rng.uniform(0.4, 1.5)
    while now < duration - 2.5:
        event = _next_event(rng, cast, now, duration)
        events.append(event)
        apply_event(cast, event)
        idle = [who for who in _present(cast) if who not in (event.who, event.whom)]
        if idle and rng.random() < 0.2:
            start = event.start + rng.uniform(0.05, 0.4)
            what = rng.choice(("jump", "spin", "grow", "shrink", "shake", "turn"))
            plan = ACTIONS[what].plan(rng, cast, rng.choice(idle))
            if plan is not None:
                beside = Event(what, start=round(start, 2), end=event.end, **plan)
                events.append(beside)
                apply_event(cast, beside)
        now = event.end + rng.uniform(0.1, 0.9)
    begin = rng.uniform(0.0, 0.35)
    day = (round(begin, 3), round(begin + rng.uniform(0.45, 0.65), 3))
    place = rng.choice(PLACES)
    return Story(duration, place, day, rng.randrange(2**31), opening, tuple(events))


def _next_event(rng: random.Random, cast: list[Actor], now: float, duration: float) -> Event:
    """Draws an action that is possible; returns it as an event that starts now."""
    absent = [who for who in range(len(cast)) if cast[who].x is None]
    eagerness = 6.0 if now < 0.4 * duration else 1.5
    weights = [
        eagerness * len(absent) if what == "enter" else action.weight
        for what, action in ACTIONS.items()
    ]
    actions, cumulative, present = list(ACTIONS), [*itertools.accumulate(weights)], _present(cast)
    while True:
        what = rng.choices(actions, cum_weights=cumulative)[0]
        who = rng.choice(absent if what == "enter" else present)
        plan = ACTIONS[what].plan(rng, cast, who)
        if plan is None:
            continue
        shortest, longest = ACTIONS[what].seconds
        end = min(now + rng.uniform(shortest, longest), duration - 0.2)
        if what == "move":
            speed = abs(plan["x"] - cast[who].position[0]) / (end - now)
            plan["how"] = "slowly" if speed < 5 else "quickly" if speed > 9 else ""
        return Event(what, start=round(now, 2), end=round(end, 2), **plan)


def _present(cast: list[Actor]) -> list[int]:
    return [who for who, actor in enumerate(cast) if actor.x is not None]


def _free_position(
    rng: random.Random,
    cast: list[Actor],
    who: int,
    left: float = _LEFT,
    right: float = _RIGHT,
    high: float = _MIDDLE,
    low: float = _LOW,
) -> tuple[float, float]:
    """Draws six positions in a rectangle and returns the one farthest from all other actors."""
    positions = [
        (round(rng.uniform(left, right), 1), round(rng.uniform(high, low), 1)) for _ in range(6)
    ]
    others = [cast[other].position for other in _present(cast) if other != who]

    def room(position: tuple[float, float]) -> float:
        x, y = position
        return min([_APART, *(((ax - x) ** 2 + (ay - y) ** 2) ** 0.5 for ax, ay in others)])

    return max(positions, key=room)


def _stay(cast: list[Actor], who: int, **fields: Any) -> dict[str, Any]:
    """Returns the fields of an actor that ends where it is."""
    return {"who": who, "x": cast[who].x, "y": cast[who].y, **fields}


def _partner(rng: random.Random, cast: list[Actor], who: int) -> int | None:
    others = [other for other in _present(cast) if other != who]
    return rng.choice(others) if others else None


def _enter(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    x, y = _free_position(rng, cast, who)
    return {"who": who, "x": x, "y": y, "side": rng.choice(("left", "right", "sky"))}


def _leave(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    if len(_present(cast)) < 3:
        return None
    return {"who": who, "side": rng.choice(("left", "right", "sky"))}


def _move(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    side = rng.choice(("left", "right"))
    x, y = cast[who].position
    left, right = (_LEFT, x - 12) if side == "left" else (x + 12, _RIGHT)
    if left > right:
        return None
    x, _ = _free_position(rng, cast, who, left, right, y, y)
    return _stay(cast, who, side=side) | {"x": x}


def _rise(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    _, y = cast[who].position
    if y < _MIDDLE:
        return None
    y = round(rng.uniform(_HIGH, y - 9), 1)
    return _stay(cast, who) | {"y": y}


def _sink(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    _, y = cast[who].position
    if y > _LOW - 10:
        return None
    y = round(rng.uniform(y + 9, _LOW), 1)
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


def _with(cast: list[Actor], whom: int, **fields: Any) -> dict[str, Any]:
    """Returns the fields of a second actor that ends where it is."""
    return {"whom": whom, "whom_x": cast[whom].x, "whom_y": cast[whom].y, **fields}


def _jump_over(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    whom = _partner(rng, cast, who)
    if whom is None:
        return None
    (who_x, _), (whom_x, _) = cast[who].position, cast[whom].position
    side = "right" if who_x < whom_x else "left"
    x = whom_x + rng.uniform(12, 15) * (1 if side == "right" else -1)
    if not _LEFT <= x <= _RIGHT or abs(who_x - whom_x) < 8:
        return None
    return _stay(cast, who, side=side) | _with(cast, whom, x=round(x, 1))


def _meet(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    whom = _partner(rng, cast, who)
    if whom is None:
        return None
    (who_x, who_y), (whom_x, whom_y) = cast[who].position, cast[whom].position
    if ((whom_x - who_x) ** 2 + (whom_y - who_y) ** 2) ** 0.5 < 20:
        return None
    sign = 1 if who_x < whom_x else -1
    x = min(max((who_x + whom_x) / 2, _LEFT + 6), _RIGHT - 6)
    y = (who_y + whom_y) / 2
    ends = {"x": round(x - sign * 6, 1), "y": round(y, 1)}
    return {"who": who, "whom": whom, "whom_x": round(x + sign * 6, 1), "whom_y": ends["y"], **ends}


def _circle(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    whom = _partner(rng, cast, who)
    return None if whom is None else _stay(cast, who) | _with(cast, whom)


def _follow(rng: random.Random, cast: list[Actor], who: int) -> Plan:
    whom = _partner(rng, cast, who)
    if whom is None:
        return None
    (who_x, _), (whom_x, _) = cast[who].position, cast[whom].position
    if abs(who_x - whom_x) < 9:
        return None
    side = "right" if who_x < whom_x else "left"
    reach = _RIGHT - whom_x if side == "right" else whom_x - _LEFT
    if reach < 10:
        return None
    step = round(rng.uniform(10, reach) * (1 if side == "right" else -1), 1)
    moved = {"x": round(who_x + step, 1), "whom_x": round(whom_x + step, 1)}
    return _stay(cast, who, side=side) | _with(cast, whom) | moved


@dataclasses.dataclass(frozen=True)
class Action:
    """A kind of event.

    weight: frequency relative to other actions.
    seconds: shortest and longest duration.
    plan: draws the event's fields other than its time.
    """

    weight: float
    seconds: tuple[float, float]
    plan: Callable[[random.Random, list[Actor], int], Plan]


ACTIONS = {
    "enter": Action(0.0, (1.8, 3.0), _enter),  # weighted in `_next_event`, by the actors off stage
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
