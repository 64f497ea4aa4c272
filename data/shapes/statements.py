"""Statements about the sample corpus' films, true and false, as VIOLIN has them for television.

The false statement of a pair is the true one with labels exchanged that stories treat alike (see
`data.shapes.film`): in another story, just as likely, it is the other way round.
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

_PAIRS = 6  # of a film
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
# Of labels that take another one's place, those that are also true of something in the film.
_SHARE_FROM_FILM = 0.2
_SHARE_OF_ROLES = 0.15  # of sentences about two, those whose two are exchanged


@dataclasses.dataclass(frozen=True)
class _Truth:
    """A true sentence.

    form: of the sentence; a film's statements are of as many as there are.
    kind: see `data.shapes.film`; '' for what is true and is not stated.
    two: phrases for the two that it is about, empty for others.
    """

    form: str
    kind: str
    text: str
    two: tuple[str, ...] = ()


def statements(film: Film, rng: random.Random) -> list[RawQuery]:
    """Up to six pairs."""
    truths = [*_looks(film), *_events(film), *_named_events(film), *_spoken(film), *_both(film)]
    known = {truth.text for truth in truths}
    labels = _found(tuple(itertools.chain(*_ALIKE)), " . ".join(known))
    found: list[RawQuery] = []
    unstated = {truth.text for truth in truths if not truth.kind}
    stated = {truth.text: truth for truth in truths if truth.text not in unstated}
    for truth in _by_turns(list(stated.values()), rng):
        false = _changed(truth, labels, rng)
        if false not in known:
            found += _pair(film, len(found) // 2, truth, false)
        if len(found) == 2 * _PAIRS:
            break
    return found


def _by_turns(truths: Sequence[_Truth], rng: random.Random) -> Iterator[_Truth]:
    """One of each form, then another one of each that has more, and so on."""
    forms = list(dict.fromkeys(truth.form for truth in truths))
    of_form = [[truth for truth in truths if truth.form == form] for form in forms]
    shuffled = [rng.sample(group, len(group)) for group in rng.sample(of_form, len(of_form))]
    for turn in itertools.zip_longest(*shuffled):
        yield from (truth for truth in turn if truth is not None)


def _pair(film: Film, number: int, truth: _Truth, false: str) -> list[RawQuery]:
    group = f"{film.clip_id}_{number}"
    return [
        RawQuery(f"{group}-{label}", film.clip_id, text, kind=truth.kind, label=label, group=group)
        for label, text in ((1, truth.text), (0, false))
    ]


def _changed(truth: _Truth, in_film: Sequence[str], rng: random.Random) -> str:
    """The sentence with two of its roles, or some of its labels and other ones, exchanged."""
    if truth.two and rng.random() < _SHARE_OF_ROLES:
        return exchange(truth.text, *truth.two)
    groups = [group for group in _ALIKE if _found(group, truth.text)]
    text = truth.text
    # More than one by preference: there has to be something easy to begin with.
    for group in rng.sample(groups, max(rng.choices(range(1, len(groups) + 1), k=2))):
        label = rng.choice(_found(group, truth.text))
        others = [other for other in group if other != label]
        familiar = [other for other in others if other in in_film]
        if familiar and rng.random() < _SHARE_FROM_FILM:
            others = familiar
        text = exchange(text, label, rng.choice(others))
    return text


def exchange(text: str, one: str, other: str) -> str:
    """The text with two phrases in each other's place, wherever they are."""
    swapped = {one: other, other: one}
    pattern = rf"\b(?:{'|'.join(map(re.escape, swapped))})\b"
    return re.sub(pattern, lambda match: swapped[match[0]], text)


def _found(labels: Sequence[str], text: str) -> list[str]:
    """Those of the labels that are in the text as whole words."""
    return [label for label in labels if f" {label} " in f" {text} "]


def _looks(film: Film) -> Iterator[_Truth]:
    """Who is seen, where, and who comes before whom."""
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
    for index in range(len(film.story.events)):
        kind = "" if index in film.told else "v"
        cast = film.looks[index]
        yield from _told(film, index, "event", kind, _shapes(cast))


def _named_events(film: Film) -> Iterator[_Truth]:
    """With names in place of looks: of all the cast, for what is true need not be known."""
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
    """An event in all words that there are for it; `phrases` are those for the cast."""
    event = film.story.events[index]
    who, whom = phrases[event.who], "" if event.whom is None else phrases[event.whom]
    two = () if event.whom is None else (who, whom)
    for variant in range(2):
        yield _Truth(form, kind, tell_plainly(event, who, whom, variant), two)
        if event.what == "meet":
            yield _Truth(form, "", tell_plainly(event, whom, who, variant))


def _spoken(film: Film) -> Iterator[_Truth]:
    """What is said of somebody stays true in whatever colour."""
    for remark in film.remarks:
        stated = tell_remark(film, remark)
        yield _Truth("spoken", "t", stated)
        for cast in film.all_looks:
            text = tell_remark(film, remark, cast)
            if text != stated:
                yield _Truth("spoken", "", text)


def _both(film: Film) -> Iterator[_Truth]:
    """What happens while something is said."""
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
