"""Captions of moments of the sample corpus' films, like those of TVC.

A moment is one event or two in succession. Its second caption uses the subtitles: names, and what
is said meanwhile.
"""

import random

from data.schema import RawQuery
from data.shapes.film import Film, Moment, shape, tell_plainly, tell_remark
from data.shapes.narration import PLACE_PHRASES, describe

_MOMENTS = (3, 5)  # least and most moments of a film
_SHARE_OF_TWO = 0.4  # share of moments with two events


def captions(film: Film, rng: random.Random) -> list[RawQuery]:
    """Draws two captions for each of three to five moments that do not overlap."""
    queries = []
    for number, events in enumerate(_moments(film, rng)):
        group = f"{film.clip_id}-{number}"
        span = _span(film, events)
        for index, (kind, text) in enumerate((_seen(film, events), _known(film, events))):
            query = RawQuery(
                f"{group}-{index}", film.clip_id, text, (span,), kind=kind, group=group
            )
            queries.append(query)
    return queries


def _moments(film: Film, rng: random.Random) -> list[list[int]]:
    """Draws moments in order of time; returns the indices of the events of each."""
    parts = []
    left = list(film.main_events)
    while left:
        count = 2 if rng.random() < _SHARE_OF_TWO else 1
        parts.append(left[:count])
        left = left[count:]
    chosen = rng.sample(range(len(parts)), min(len(parts), rng.randint(*_MOMENTS)))
    return [parts[index] for index in sorted(chosen)]


def _span(film: Film, events: list[int]) -> Moment:
    """Returns the first and last second of a moment."""
    return film.story.events[events[0]].start, film.story.events[events[-1]].end


def _seen(film: Film, events: list[int]) -> tuple[str, str]:
    """Returns kind and text of a caption by an annotator who hears nothing."""
    told = []
    for index in events:
        event, cast = film.story.events[index], film.looks[index]
        whom = "" if event.whom is None else describe(cast[event.whom])
        told.append(tell_plainly(event, describe(cast[event.who]), whom, 0))
    return "v", " and then ".join(told)


def _known(film: Film, events: list[int]) -> tuple[str, str]:
    """Returns kind and text of a caption by an annotator who hears all names and remarks."""
    end = _span(film, events)[1]
    told: list[str] = []
    kind = "v"
    for index in events:
        event, cast = film.story.events[index], film.looks[index]
        known = [actor for actor, since in film.named.items() if since <= end]
        who, whom = (
            "" if actor is None else cast[actor].name if actor in known else shape(cast[actor])
            for actor in (event.who, event.whom)
        )
        text = tell_plainly(event, who, whom, 1)
        if not told:
            text = f"{text} {PLACE_PHRASES[film.story.place]}"
        remarks = [
            tell_remark(film, remark)
            for remark in film.remarks
            if remark.event == index and remark.kind != "name"
        ]
        if remarks or {event.who, event.whom} & set(known):
            kind = "vt"
        told.append(" while ".join([text, *remarks]))
    return kind, " and then ".join(told)
