"""Statements about the sample corpus' films, true and false, like those of VIOLIN.

The false statement of a pair is the true one with labels exchanged in which stories are symmetric
(see `data.shapes.film`): in another, equally likely story, the false one is true.
"""

import dataclasses
import itertools
import random
import re
from collections.abc import Iterator, Sequence

from data.schema import RawQuery
from data.shapes.film import Film, shape, tell_plainly, tell_remark
from data.shapes.narration import FEELINGS, PLACE_PHRASES, PLANS, SPEECH
from data.shapes.story import COLOURS, FORMS, NAMES, Actor

_PAIRS = 6  # of a film, at most
# Groups of labels in which stories are symmetric.
_ALIKE = (
    COLOURS,
    FORMS,
    NAMES,
    FEELINGS,
    PLANS,
    SPEECH,
    tuple(PLACE_PHRASES.values()),
    ("to the left", "to the right"),
    ("from the left", "from the right"),
    ("jumps up and down", "spins around"),
    ("hops up and down", "whirls around"),
    ("grows", "shrinks"),
    ("gets bigger", "gets smaller"),
)
# Share of new labels that are also true of something in the film.
_SHARE_FROM_FILM = 0.2
# Share of sentences about two actors in which the two are exchanged.
_SHARE_OF_ROLES = 0.15


@dataclasses.dataclass(frozen=True)
class _Truth:
    """A true sentence.

    form: form of the sentence; the statements of a film have as many forms as possible.
    kind: see `data.shapes.film`; '' for a truth that is never stated.
    two: phrases for the two actors that it is about; empty for others.
    """

    form: str
    kind: str
    text: str
    two: tuple[str, ...] = ()


def statements(film: Film, rng: random.Random) -> list[RawQuery]:
    """Draws up to six pairs of a true and a false statement."""
    truths = [*_looks(film), *_events(film), *_named_events(film), *_spoken(film), *_both(film)]
    known = {truth.text for truth in truths}
    labels = _labels_in(" . ".join(known), tuple(itertools.chain(*_ALIKE)))
    queries: list[RawQuery] = []
    unstated = {truth.text for truth in truths if not truth.kind}
    stated = {truth.text: truth for truth in truths if truth.text not in unstated}
    for truth in _by_turns(list(stated.values()), rng):
        false = _changed(truth, labels, rng)
        if false not in known:
            queries += _pair(film, len(queries) // 2, truth, false)
        if len(queries) == 2 * _PAIRS:
            break
    return queries


def _by_turns(truths: Sequence[_Truth], rng: random.Random) -> Iterator[_Truth]:
    """Yields a truth of each form, then a second of each form that has more, and so on."""
    forms = list(dict.fromkeys(truth.form for truth in truths))
    by_form = [[truth for truth in truths if truth.form == form] for form in forms]
    shuffled = [rng.sample(group, len(group)) for group in rng.sample(by_form, len(by_form))]
    for turn in itertools.zip_longest(*shuffled):
        yield from (truth for truth in turn if truth is not None)


def _pair(film: Film, number: int, truth: _Truth, false: str) -> list[RawQuery]:
    group = f"{film.clip_id}_{number}"
    return [
        RawQuery(f"{group}-{label}", film.clip_id, text, kind=truth.kind, label=label, group=group)
        for label, text in ((1, truth.text), (0, false))
    ]


def _changed(truth: _Truth, in_film: Sequence[str], rng: random.Random) -> str:
    """Draws a sentence in which two actors, or some labels and others, are exchanged."""
    if truth.two and rng.random() < _SHARE_OF_ROLES:
        return exchange(truth.text, *truth.two)
    groups = [group for group in _ALIKE if _labels_in(truth.text, group)]
    text = truth.text
    # Preferably more than one: a model needs easy examples to begin with.
    for group in rng.sample(groups, max(rng.choices(range(1, len(groups) + 1), k=2))):
        label = rng.choice(_labels_in(truth.text, group))
        others = [other for other in group if other != label]
        familiar = [other for other in others if other in in_film]
        if familiar and rng.random() < _SHARE_FROM_FILM:
            others = familiar
        text = exchange(text, label, rng.choice(others))
    return text


def exchange(text: str, first: str, second: str) -> str:
    """Returns the text with every occurrence of two phrases exchanged."""
    swapped = {first: second, second: first}
    pattern = rf"\b(?:{'|'.join(map(re.escape, swapped))})\b"
    return re.sub(pattern, lambda match: swapped[match[0]], text)


def _labels_in(text: str, labels: Sequence[str]) -> list[str]:
    """Returns the labels that occur in the text as whole words."""
    return [label for label in labels if f" {label} " in f" {text} "]


def _looks(film: Film) -> Iterator[_Truth]:
    """Yields who is seen, where, and who comes in before whom."""
    for spell in film.spells:
        yield _Truth("seen", "v", f"{shape(spell.actor)} is seen")
    yield _Truth("place", "v", f"it is {PLACE_PHRASES[film.story.place]}")
    entries = [
        shape(cast[event.who])
        for event, cast in zip(film.story.events, film.looks, strict=True)
        if event.what == "enter"
    ]
    for two in itertools.combinations(entries, 2):
        yield _Truth("order", "v", "{} comes in before {}".format(*two), two)


def _events(film: Film) -> Iterator[_Truth]:
    """Yields the events, told by looks."""
    for index in range(len(film.story.events)):
        kind = "" if index in film.told else "v"
        cast = film.looks[index]
        yield from _told(film, index, "event", kind, _shapes(cast))


def _named_events(film: Film) -> Iterator[_Truth]:
    """Yields the events, told by names; also by names that no subtitle introduces."""
    for index, event in enumerate(film.story.events):
        for called in ({event.who}, {event.whom}, {event.who, event.whom}):
            if None in called:
                continue
            known = index not in film.told and called <= set(film.named)
            phrases = [
                actor.name if who in called else shape(actor)
                for who, actor in enumerate(film.looks[index])
            ]
            yield from _told(film, index, "named", "vt" if known else "", phrases)


def _told(film: Film, index: int, form: str, kind: str, phrases: Sequence[str]) -> Iterator[_Truth]:
    """Yields an event in all its wordings; `phrases` are those for the cast."""
    event = film.story.events[index]
    who, whom = phrases[event.who], "" if event.whom is None else phrases[event.whom]
    two = () if event.whom is None else (who, whom)
    for variant in range(2):
        yield _Truth(form, kind, tell_plainly(event, who, whom, variant), two)
        if event.what == "meet":
            yield _Truth(form, "", tell_plainly(event, whom, who, variant))


def _spoken(film: Film) -> Iterator[_Truth]:
    """Yields the remarks; also by looks that the actor has at other times, which stay true."""
    for remark in film.remarks:
        stated = tell_remark(film, remark)
        yield _Truth("spoken", "t", stated)
        for cast in film.all_looks:
            text = tell_remark(film, remark, cast)
            if text != stated:
                yield _Truth("spoken", "", text)


def _both(film: Film) -> Iterator[_Truth]:
    """Yields the events that happen during a remark."""
    for remark in film.remarks:
        begin, end = remark.moment
        stated = tell_remark(film, remark)
        said = dict.fromkeys(tell_remark(film, remark, cast) for cast in film.all_looks)
        for index, event in enumerate(film.story.events):
            if remark.kind == "name" or event.start > end or event.end < begin:
                continue
            kind = "vt" if index == remark.event else ""
            for truth in _told(film, index, "while", kind, _shapes(film.looks[index])):
                for text in said:
                    known = truth.kind if text == stated else ""
                    yield _Truth("while", known, f"{truth.text} while {text}")


def _shapes(cast: Sequence[Actor]) -> list[str]:
    return [shape(actor) for actor in cast]
