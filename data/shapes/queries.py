"""Queries for moments of the sample corpus' films, like those of TVR."""

import random
from collections.abc import Iterator

from data.schema import RawQuery
from data.shapes.film import Film, Moment, moment, tell_plainly, tell_remark
from data.shapes.narration import PLACE_PHRASES, describe, nearest
from data.shapes.story import Actor, Event

_QUERIES = 5  # of a film, at most
_MOST = {"t": 1, "vt": 2}  # of these kinds, at most; the rest are of kind 'v'
_SHARE_WITH_PLACE = 0.4


def queries(film: Film, rng: random.Random) -> list[RawQuery]:
    """Draws up to five queries, each about a moment that is unlike any other of the film."""
    chosen: list[tuple[str, str, Moment]] = []
    for kind, candidates in (("t", _spoken(film)), ("vt", _both(film, rng))):
        of_kind = list(candidates)
        drawn = rng.sample(of_kind, min(len(of_kind), _MOST[kind]))
        chosen += [(kind, *query) for query in drawn]
    # No moment has two queries.
    taken = {span for _, _, span in chosen}
    seen = [query for query in _seen(film, rng) if query[1] not in taken]
    missing = _QUERIES - len(chosen)
    chosen += [("v", *query) for query in rng.sample(seen, min(len(seen), missing))]
    return [
        RawQuery(f"{film.clip_id}-{number}", film.clip_id, text, (span,), kind)
        for number, (kind, text, span) in enumerate(chosen)
    ]


def _seen(film: Film, rng: random.Random) -> Iterator[tuple[str, Moment]]:
    """Yields queries about what is seen."""
    for event, cast in _singular(film):
        whom = "" if event.whom is None else describe(cast[event.whom])
        text = tell_plainly(event, describe(cast[event.who]), whom, rng.randrange(2))
        beside = nearest(cast, event.who) if event.whom is None and event.x is not None else None
        if beside is not None:
            text = f"{text} near {describe(cast[beside])}"
        # A sentence about one shape alone would fit many films.
        alone = beside is None and event.whom is None
        if alone or rng.random() < _SHARE_WITH_PLACE:
            text = f"{text} {PLACE_PHRASES[film.story.place]}"
        yield text, moment(event)


def _spoken(film: Film) -> Iterator[tuple[str, Moment]]:
    """Yields queries about what subtitles say."""
    said = [(remark.kind, remark.who, remark.what) for remark in film.remarks]
    for remark, key in zip(film.remarks, said, strict=True):
        if said.count(key) == 1:
            yield tell_remark(film, remark), remark.moment


def _both(film: Film, rng: random.Random) -> Iterator[tuple[str, Moment]]:
    """Yields queries about what is seen of actors with a name, or while something is said."""
    singular = [event for event, _ in _singular(film)]
    for event, cast in _singular(film):
        who, whom = (_by_name(film, cast, actor) for actor in (event.who, event.whom))
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
    """Returns the events that no subtitle tells and that happen once in the film."""
    keys = [_likeness(event) for event in film.story.events]
    return [
        (event, cast) for event, cast in film.untold_events() if keys.count(_likeness(event)) == 1
    ]


def _likeness(event: Event) -> tuple:
    """Returns a key that is equal for events that a query cannot distinguish."""
    actors = (event.who, event.whom)
    if event.what == "meet" and event.whom is not None:
        actors = (min(event.who, event.whom), max(event.who, event.whom))
    return event.what, *actors, event.side if event.what != "jump_over" else "", event.colour
