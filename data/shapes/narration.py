"""Subtitles of a story: they tell some of what is seen, and some of what is not.

Some sentences leave out a colour, or use a name that an earlier subtitle introduced; others tell
feelings, plans and speech. So neither words nor images suffice.
"""

import random
from collections.abc import Sequence
from typing import Any

from data.schema import RawSubtitle
from data.shapes.story import Actor, Event, Story

FEELINGS = ("happy", "sad", "tired", "hungry", "afraid", "proud", "bored", "angry")
SPEECH = (
    *("it is cold", "it is too warm", "it is late", "dinner is ready", "somebody is singing"),
    *("a storm is coming", "today is a birthday", "the moon is made of cheese"),
)
PLANS = (
    *("go home", "find a friend", "sleep", "eat cake", "win the race", "see the sea"),
    *("build a house", "learn to dance"),
)
PLACE_PHRASES = {
    "meadow": "in the meadow",
    "beach": "on the beach",
    "desert": "in the desert",
    "snow": "in the snow",
    "city": "in the city",
    "forest": "in the forest",
}
_PHRASES = {
    "enter": ("{who} comes in from the {side}", "{who} enters from the {side}"),
    "leave": ("{who} leaves to the {side}", "{who} goes away to the {side}"),
    "move": ("{who} {how} moves to the {side}", "{who} {how} goes to the {side}"),
    "rise": ("{who} floats up", "{who} rises into the air"),
    "sink": ("{who} sinks down", "{who} comes down"),
    "jump": ("{who} jumps up and down", "{who} hops up and down"),
    "spin": ("{who} spins around", "{who} whirls around"),
    "shake": ("{who} shakes", "{who} trembles"),
    "grow": ("{who} grows", "{who} gets bigger"),
    "shrink": ("{who} shrinks", "{who} gets smaller"),
    "turn": ("{who} turns {colour}", "{who} changes to {colour}"),
    "jump_over": ("{who} jumps over {whom}", "{who} leaps over {whom}"),
    "meet": ("{who} and {whom} meet", "{who} meets {whom}"),
    "circle": ("{who} flies around {whom}", "{who} circles {whom}"),
    "follow": ("{who} follows {whom} to the {side}", "{who} chases {whom} to the {side}"),
}
_SILENT_SHARE = 0.08  # share of films without subtitles
# Shares of the slots that tell an event, or something unseen; the rest is silence.
_NARRATED, _UNSEEN = 0.68, 0.12


def hour_phrase(hour: float) -> str:
    """Returns the phrase for an hour of the day, 0 at dawn and 1 at midnight."""
    for end, phrase in ((0.22, "in the morning"), (0.5, "at noon"), (0.8, "in the evening")):
        if hour < end:
            return phrase
    return "at night"


def describe(actor: Actor, words: Sequence[str] = ("size", "colour", "form")) -> str:
    """Returns a phrase like 'the small red circle', with some or all of its words."""
    return " ".join(["the", *[getattr(actor, word) for word in words]])


def sentence(event: Event, who: str, whom: str = "", variant: int = 0) -> str:
    """Returns a sentence about an event.

    Args:
      event: the event.
      who: phrase for the first actor.
      whom: phrase for the second actor, '' for an event of one actor.
      variant: 0 or 1, for one of two wordings.
    """
    text = _PHRASES[event.what][variant]
    text = text.format(who=who, whom=whom, side=event.side, how=event.how, colour=event.colour)
    return " ".join(text.split())


def nearest(cast: Sequence[Actor], who: int) -> int | None:
    """Returns the index of the actor on stage that is closest to an actor; None without one."""
    if cast[who].x is None:
        return None
    who_x, who_y = cast[who].position
    distances = {}
    for other, actor in enumerate(cast):
        if other != who and actor.x is not None:
            x, y = actor.position
            distances[other] = (x - who_x) ** 2 + (y - who_y) ** 2
    return min(distances, key=distances.__getitem__, default=None)


def _refer(rng: random.Random, actor: Actor, is_named: bool) -> str:
    """Draws a phrase for an actor: by name, if an earlier subtitle introduced it, or by looks."""
    if is_named and rng.random() < 0.3:
        return actor.name
    ways = (("size", "colour", "form"), ("colour", "form"), ("size", "form"), ("form",))
    return describe(actor, rng.choices(ways, weights=(70, 20, 7, 3))[0])


def narrate(story: Story, rng: random.Random) -> tuple[list[RawSubtitle], list[dict[str, Any]]]:
    """Draws the subtitles of a story; a few films have none.

    Returns:
      The subtitles in order of time, and the narration: an entry for each subtitle that says what
      it tells. An entry has a `kind`: 'event' (with `event`, the index in the story), 'name' (with
      `who`), 'feeling', 'plan' or 'speech' (with `who` and `what`, speech maybe with `whom`).
    """
    subtitles: list[RawSubtitle] = []
    narration: list[dict[str, Any]] = []
    if rng.random() < _SILENT_SHARE:
        return subtitles, narration
    named: set[int] = set()
    free_from = 0.0
    slot_end = 0.0
    for index, (event, cast) in enumerate(zip(story.events, story.looks(), strict=True)):
        if event.start < slot_end:
            continue  # the event happens beside another, which has the slot
        slot_end = event.end
        draw = rng.random()
        if draw > _NARRATED + _UNSEEN:
            continue
        if draw < _NARRATED:
            text = _tell_event(rng, story, event, cast, named)
            entry: dict[str, Any] = {"kind": "event", "event": index}
        else:
            text, entry = _tell_unseen(rng, event, cast, named)
        start = max(free_from, event.start + rng.uniform(-0.3, 0.3))
        end = min(story.duration, max(start + 1.0, event.end + rng.uniform(-0.3, 0.3)))
        subtitles.append(RawSubtitle(text, round(start, 2), round(end, 2)))
        narration.append(entry)
        free_from = round(end, 2)
    return subtitles, narration


def _tell_event(
    rng: random.Random, story: Story, event: Event, cast: Sequence[Actor], named: set[int]
) -> str:
    """Draws a sentence about an event."""
    who = _refer(rng, cast[event.who], event.who in named)
    whom = "" if event.whom is None else _refer(rng, cast[event.whom], event.whom in named)
    text = sentence(event, who, whom, rng.randrange(2))
    beside = nearest(cast, event.who) if event.whom is None and event.x is not None else None
    if beside is not None and rng.random() < 0.7:
        text = f"{text} near {_refer(rng, cast[beside], beside in named)}"
    draw = rng.random()
    if draw < 0.3:
        return f"{text} {PLACE_PHRASES[story.place]}"
    if draw < 0.4:
        return f"{text} {hour_phrase(story.hour(event.start))}"
    return text


def _tell_unseen(
    rng: random.Random, event: Event, cast: Sequence[Actor], named: set[int]
) -> tuple[str, dict[str, Any]]:
    """Draws a sentence about something unseen, said of an actor on stage, and its entry."""
    present = [who for who, actor in enumerate(cast) if actor.x is not None] or [event.who]
    nameless = [who for who in present if who not in named]
    if nameless and rng.random() < 0.45:
        who = rng.choice(nameless)
        named.add(who)
        looks = describe(cast[who], ("colour", "form"))
        text = rng.choice(("{looks} is called {name}", "the name of {looks} is {name}"))
        return text.format(looks=looks, name=cast[who].name), {"kind": "name", "who": who}
    who = rng.choice(present)
    subject = _refer(rng, cast[who], who in named)
    kind, verb, contents = rng.choice(
        (("feeling", "is", FEELINGS), ("speech", "says that", SPEECH), ("plan", "wants to", PLANS))
    )
    entry: dict[str, Any] = {"kind": kind, "who": who, "what": rng.choice(contents)}
    listener = nearest(cast, who)
    if kind == "speech" and listener is not None:
        entry["whom"] = listener
        verb = f"tells {_refer(rng, cast[listener], listener in named)} that"
    return f"{subject} {verb} {entry['what']}", entry
