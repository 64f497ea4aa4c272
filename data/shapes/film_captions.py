"""Captions of the sample corpus' whole films, like those of YouCook2 and VATEX."""

import random

from data.schema import RawQuery
from data.shapes.film import Film, shape, tell_plainly
from data.shapes.narration import PLACE_PHRASES


def film_captions(film: Film, rng: random.Random) -> list[RawQuery]:
    """Returns two captions of a film: who is seen where, and what happens first and last."""
    del rng
    return [
        RawQuery(f"{film.clip_id}-{number}", film.clip_id, text, kind="v", group=film.clip_id)
        for number, text in enumerate((_cast(film), _course(film)))
    ]


def _cast(film: Film) -> str:
    """Returns a sentence that names every actor as it is first seen, in order."""
    first = {spell.who: spell for spell in reversed(film.spells)}
    ordered = sorted(first.values(), key=lambda spell: spell.moment)
    *others, last = [shape(spell.actor) for spell in ordered]
    seen = f"{' , '.join(others)} and {last}" if others else last
    return f"{seen} are {PLACE_PHRASES[film.story.place]}"


def _course(film: Film) -> str:
    """Returns a sentence about the first and the last event."""
    told = []
    for index in (0, len(film.story.events) - 1):
        event, cast = film.story.events[index], film.looks[index]
        whom = "" if event.whom is None else shape(cast[event.whom])
        told.append(tell_plainly(event, shape(cast[event.who]), whom, 0))
    return " and at last ".join(told)
