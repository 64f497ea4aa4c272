"""Queries for moments of the sample corpus' films, as TVR has them for television."""

import random
from collections.abc import Iterator

from data.schema import RawQuery
from data.shapes.film import Film, Moment, moment, tell_plainly, tell_remark
from data.shapes.narration import PLACE_PHRASES, describe, nearest
from data.shapes.story import Actor, Event

_QUERIES = 5  # of a film
_MOST = {"t": 1, "vt": 2}  # of them; the rest are of kind 'v'
_SHARE_WITH_PLACE = 0.4


def queries(film: Film, rng: random.Random) -> list[RawQuery]:
    """Up to five, each about a moment that nothing else in the film is like."""
    chosen = []
    for kind, found in (("t", _spoken(film)), ("vt", _both(film, rng))):
        found = list(found)
        of_kind = rng.sample(found, min(len(found), _MOST[kind]))
        chosen += [(kind, *query) for query in of_kind]
    # A moment that has a query already is not taken again.
    taken = {span for _, _, span in chosen}
    seen = [query for query in _seen(film, rng) if query[1] not in taken]
    wanted = _QUERIES - len(chosen)
    chosen += [("v", *query) for query in rng.sample(seen, min(len(seen), wanted))]
    return [
        RawQuery(f"{film.clip_id}-{number}", film.clip_id, text, (span,), kind)
        for number, (kind, text, span) in enumerate(chosen)
    ]


def _seen(film: Film, rng: random.Random) -> Iterator[tuple[str, Moment]]:
    for event, cast in _singular(film):
        whom = "" if event.whom is None else describe(cast[event.whom])
        text = tell_plainly(event, describe(cast[event.who]), whom, rng.randrange(2))
        beside = nearest(cast, event.who) if event.whom is None and event.x is not None else None
        if beside is not None:
            text = f"{text} near {describe(cast[beside])}"
        # Of one shape alone there is little to go by.
        alone = beside is None and event.whom is None
        if alone or rng.random() < _SHARE_WITH_PLACE:
            text = f"{text} {PLACE_PHRASES[film.story.place]}"
        yield text, moment(event)


def _spoken(film: Film) -> Iterator[tuple[str, Moment]]:
    said = [(remark.kind, remark.who, remark.what) for remark in film.remarks]
    for remark, key in zip(film.remarks, said, strict=True):
        if said.count(key) == 1:
            yield tell_remark(film, remark), remark.moment


def _both(film: Film, rng: random.Random) -> Iterator[tuple[str, Moment]]:
    singular = [event for event, _ in _singular(film)]
    for event, cast in _singular(film):
        who, whom = (_by_name(film, cast, one) for one in (event.who, event.whom))
        if {event.who, event.whom} & set(film.named):
            yield tell_plainly(event, who, whom, rng.randrange(2)), moment(event)
    for remark in film.remarks:
        event, cast = film.story.events[remark.event], film.looks[remark.event]
        if remark.kind != "name" and event in singular:
            whom = "" if event.whom is None else describe(cast[event.whom])
            text = tell_plainly(event, describe(cast[event.who]), whom, rng.randrange(2))
            yield f"{text} while {tell_remark(film, remark)}", moment(event)


def _by_name(film: Film, cast: tuple[Actor, ...], who: int | None) -> str:
    if who is None:
        return ""
    return cast[who].name if who in film.named else describe(cast[who])


def _singular(film: Film) -> list[tuple[Event, tuple[Actor, ...]]]:
    """The events that no subtitle tells and that happen once in the film."""
    keys = [_likeness(event) for event in film.story.events]
    return [
        (event, cast)
        for event, cast in film.unseen_by_readers()
        if keys.count(_likeness(event)) == 1
    ]


def _likeness(event: Event) -> tuple:
    """The same for events that a query does not tell apart, whatever the looks by then."""
    together = (event.who, event.whom)
    if event.what == "meet":
        together = tuple(sorted(together))
    return event.what, *together, event.side if event.what != "jump_over" else "", event.colour
