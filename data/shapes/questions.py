"""Questions about the sample corpus' films with five answers, as TVQA has them for television.

Which answer is right cannot be told from a question and its answers, for the wrong ones come about
as the right one does. Where answers are labels that stories treat alike (`data.shapes.film`)
any others serve. Where they are actions, some of which are more frequent than others, the wrong
ones are the right ones of four other films.
"""

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence

from data.schema import RawQuery
from data.shapes.film import Film, Moment, Remark, moment, shape, tell_plainly, tell_remark
from data.shapes.narration import FEELINGS, PLACE_PHRASES, PLANS, SPEECH, narrate
from data.shapes.story import COLOURS, FORMS, NAMES, Actor, Event, tell

ANSWERS = 5
_QUESTIONS = 12  # of a film
_SHARE_OF_RIVALS = 0.2  # of the cast, those that are among the answers
_INFINITIVES = {"jump_over": "jump over", "circle": "fly around", "follow": "follow"}
_TOGETHER = ("meet", "follow")  # what is done by two
# Question, answers and what is asked about in turn, for what subtitles say.
_SAID = {
    "name": ("what is {who} called", NAMES, "who is called {what}"),
    "feeling": ("how does {who} feel", FEELINGS, "who is {what}"),
    "plan": ("what does {who} want to do", PLANS, "who wants to {what}"),
    "speech": ("what does {who} say", SPEECH, "who says that {what}"),
}


@dataclasses.dataclass(frozen=True)
class _Question:
    """topic: what it is about; of a film's questions on a topic one is asked."""

    topic: str
    kind: str
    text: str
    right: str
    wrong: tuple[str, ...]
    moment: Moment


def questions(film: Film, rng: random.Random) -> list[RawQuery]:
    """Up to twelve, on as many topics; ids tell the topic."""
    found: dict[str, list[_Question]] = {}
    for of_topic in (_appearances, _places, _entries, _events, _said, _meanwhile):
        for question in of_topic(film, rng):
            found.setdefault(question.topic, []).append(question)
    chosen = [rng.choice(of_topic) for of_topic in found.values()]
    chosen += [question for question in _deeds(film, rng) if question is not None]
    chosen = rng.sample(chosen, min(len(chosen), _QUESTIONS))
    return [_with_label(film, question, rng) for question in chosen]


def _with_label(film: Film, question: _Question, rng: random.Random) -> RawQuery:
    answers = rng.sample((question.right, *question.wrong), ANSWERS)
    return RawQuery(
        f"{film.clip_id}-{question.topic}",
        film.clip_id,
        f"{question.text}?",
        (question.moment,),
        kind=question.kind,
        answers=tuple(answers),
        label=answers.index(question.right),
    )


def _others(rng: random.Random, values: Iterable[str], right: str) -> tuple[str, ...]:
    return tuple(rng.sample([value for value in values if value != right], ANSWERS - 1))


def _shapes(
    rng: random.Random,
    right: Actor,
    rivals: Iterable[Actor] = (),
    mentioned: Sequence[Actor] = (),
    also_right: Iterable[Actor] = (),
) -> tuple[str, ...]:
    """Four wrong shapes, of other colours and forms than each other and all that is known of.

    Args:
      right: the right one.
      rivals: wrong ones that the film has; a fifth of them is taken.
      mentioned: in the question, where their colours and forms would be no answers to it.
      also_right: may not be among the wrong ones.
    """
    used, wrong = [right, *mentioned], []
    for rival in rivals:
        free = all(rival.colour != one.colour and rival.form != one.form for one in used)
        if free and len(wrong) < ANSWERS - 1 and rng.random() < _SHARE_OF_RIVALS:
            wrong.append(rival)
            used.append(rival)
    colours = [colour for colour in COLOURS if colour not in {one.colour for one in used}]
    forms = [form for form in FORMS if form not in {one.form for one in used}]
    barred = {shape(actor) for actor in also_right}
    more = ANSWERS - 1 - len(wrong)
    while True:
        drawn = zip(rng.sample(colours, more), rng.sample(forms, more), strict=True)
        drawn = [shape(dataclasses.replace(right, colour=c, form=f)) for c, f in drawn]
        if not barred & set(drawn):
            return (*map(shape, wrong), *drawn)


def _appearances(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Who is seen, in which colour and form."""
    actors = [spell.actor for spell in film.spells]
    colours = [spell.actor.colour for spell in film.spells]
    forms = [spell.actor.form for spell in film.spells]
    for spell in film.spells:
        right, span = spell.actor, spell.moment
        wrong = _shapes(rng, right, also_right=actors)
        yield _Question("seen", "v", "who is seen", shape(right), wrong, span)
        if span[0] == 0:
            first = [one.actor for one in film.spells if one.moment[0] == 0]
            later = [actor for actor in actors if actor.form not in {one.form for one in first}]
            wrong = _shapes(rng, right, _once_each(later), also_right=first)
            text = "who is there at the beginning"
            yield _Question("beginning", "v", text, shape(right), wrong, span)
        if forms.count(right.form) == 1:
            wrong = _others(rng, COLOURS, right.colour)
            text = f"what colour is the {right.form}"
            yield _Question("colour", "v", text, right.colour, wrong, span)
        if colours.count(right.colour) == 1:
            wrong = _others(rng, FORMS, right.form)
            text = f"what form is {right.colour}"
            yield _Question("form", "v", text, right.form, wrong, span)


def _once_each(actors: Iterable[Actor]) -> list[Actor]:
    """Of actors that come with several colours, one."""
    return list({actor.form: actor for actor in actors}.values())


def _places(film: Film, rng: random.Random) -> Iterator[_Question]:
    phrases = PLACE_PHRASES
    right = phrases[film.story.place]
    span = (0.0, film.story.duration)
    yield _Question("place", "v", "where is it", right, _others(rng, phrases.values(), right), span)


def _entries(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Who comes in first and last of those who come in."""
    entries = [
        (event, cast)
        for event, cast in zip(film.story.events, film.looks, strict=True)
        if event.what == "enter"
    ]
    if len(entries) < 2:
        return
    for topic, (event, cast) in (("first", entries[0]), ("last", entries[-1])):
        right = cast[event.who]
        rivals = [actor for actor in cast if actor is not right]
        wrong = _shapes(rng, right, rivals)
        text = f"who comes in {topic}"
        yield _Question(f"in_{topic}", "v", text, shape(right), wrong, moment(event))


def _events(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Who does what, of what no subtitle tells and nobody else does."""
    events = film.story.events
    deeds = [(event.what, event.side) for event in events]
    for event, cast in film.unseen_by_readers():
        who, span = cast[event.who], moment(event)
        if event.what == "turn":
            if [e.who for e in events if e.what == "turn"].count(event.who) == 1:
                text = f"what colour does {shape(who)} turn to"
                wrong = _others(rng, [c for c in COLOURS if c != who.colour], event.colour)
                yield _Question("turn", "v", text, event.colour, wrong, span)
        elif event.whom is not None:
            yield from _of_two(film, rng, event, cast)
        elif deeds.count((event.what, event.side)) == 1:
            text = tell_plainly(event, "who", "", rng.randrange(2))
            wrong = _shapes(rng, who, [actor for actor in cast if actor is not who])
            yield _Question("who", "v", text, shape(who), wrong, span)


def _of_two(
    film: Film, rng: random.Random, event: Event, cast: Sequence[Actor]
) -> Iterator[_Question]:
    """Who does it, and to whom; the question has the other one, by look or by name."""
    alike = [other for other in film.story.events if other.what == event.what]
    # Of those who meet, either is who meets the other.
    if event.what == "meet":
        return
    who, whom, span = cast[event.who], cast[event.whom], moment(event)
    rivals = [actor for actor in cast if actor not in (who, whom)]
    if [other.whom for other in alike].count(event.whom) == 1:
        wrong = _shapes(rng, who, rivals, [whom])
        for suffix, kind, called in _called(film, event.whom, whom):
            text = tell_plainly(event, "who", called, rng.randrange(2))
            yield _Question(f"who_does{suffix}", kind, text, shape(who), wrong, span)
    if [other.who for other in alike].count(event.who) == 1:
        wrong = _shapes(rng, whom, rivals, [who])
        for suffix, kind, called in _called(film, event.who, who):
            text = f"who does {called} {_INFINITIVES[event.what]}"
            yield _Question(f"to_whom{suffix}", kind, text, shape(whom), wrong, span)


def _called(film: Film, who: int, actor: Actor) -> Iterator[tuple[str, str, str]]:
    """Suffix of the topic, kind and phrase, by look and, where subtitles tell it, by name."""
    yield "", "v", shape(actor)
    if who in film.named:
        yield "_by_name", "vt", actor.name


def _said(film: Film, rng: random.Random) -> Iterator[_Question]:
    """What subtitles say of somebody, and of whom they say it."""
    for remark in film.remarks:
        cast = film.looks[remark.event]
        who = cast[remark.who]
        about, domain, of_whom = _SAID[remark.kind]
        alike = [other for other in film.remarks if other.kind == remark.kind]
        if [other.who for other in alike].count(remark.who) == 1:
            wrong = _others(rng, domain, remark.what)
            text = about.format(who=shape(who))
            yield _Question(remark.kind, "t", text, remark.what, wrong, remark.moment)
        if [other.what for other in alike].count(remark.what) == 1:
            wrong = _shapes(rng, who, [actor for actor in cast if actor is not who])
            text, topic = of_whom.format(what=remark.what), f"{remark.kind}_of_whom"
            yield _Question(topic, "t", text, shape(who), wrong, remark.moment)


def _meanwhile(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Who does something while something is said of others."""
    for remark in film.remarks:
        event, cast = film.story.events[remark.event], film.looks[remark.event]
        about = [remark.who] if remark.whom is None else [remark.who, remark.whom]
        if remark.kind == "name" or event.who in about or not _is_alone(film, remark):
            continue
        who = cast[event.who]
        mentioned = [cast[one] for one in about]
        rivals = [actor for actor in cast if actor is not who]
        wrong = _shapes(rng, who, rivals, mentioned)
        text = f"who does something while {tell_remark(film, remark)}"
        yield _Question("meanwhile", "vt", text, shape(who), wrong, moment(event))


def _is_alone(film: Film, remark: Remark) -> bool:
    """Whether one does something during a remark, and nobody else."""
    begin, end = remark.moment
    active = set()
    for event in film.story.events:
        if event.start < end and event.end > begin:
            active |= _active(event)
    return len(active) == 1


def _active(event: Event) -> set[int]:
    """Who does something in an event: not those who are jumped over or flown around."""
    return {event.who, event.whom} - {None} if event.what in _TOGETHER else {event.who}


def _deeds(film: Film, rng: random.Random) -> Iterator[_Question]:
    """What somebody does, where the answers are actions."""
    for topic, kind in (("after_entry", "v"), ("at_last", "v"), ("at_last_by_name", "vt")):
        deed = _deed(film, topic, rng)
        if deed is None:
            continue
        text, right, span = deed
        answers = {right}
        # To draw again what was drawn already would favour what is rare.
        while len(answers) < ANSWERS:
            other = _deed(_another_film(rng), topic, rng)
            if other is not None and other[1] in answers:
                break
            if other is not None:
                answers.add(other[1])
        else:
            yield _Question(topic, kind, text, right, tuple(sorted(answers - {right})), span)


def _another_film(rng: random.Random) -> Film:
    story = tell(rng)
    return Film("", story, *narrate(story, rng))


def _deed(film: Film, topic: str, rng: random.Random) -> tuple[str, str, Moment] | None:
    """Question, right answer and moment about one of those of whom it can be asked."""
    found = []
    for who in range(len(film.story.cast)):
        of_actor = [i for i, event in enumerate(film.story.events) if who in _active(event)]
        entries = [i for i in of_actor if film.story.events[i].what == "enter"]
        if topic != "after_entry":
            asked = of_actor[-1:]
        else:
            asked = [i for i in of_actor if len(entries) == 1 and i > entries[0]][:1]
        if topic == "at_last_by_name" and who not in film.named:
            continue
        found += [(who, i) for i in asked if _can_be_asked(film, who, i)]
    if not found:
        return None
    who, index = rng.choice(found)
    event, actor = film.story.events[index], film.looks[index][who]
    called = actor.name if topic == "at_last_by_name" else shape(actor)
    when = "after it comes in" if topic == "after_entry" else "last"
    answer = tell_plainly(event, "it", "somebody", 1 if event.what == "meet" else 0)
    return f"what does {called} do {when}", answer, moment(event)


def _can_be_asked(film: Film, who: int, index: int) -> bool:
    """Not what subtitles tell, and not a new colour: it would differ from the question's."""
    event = film.story.events[index]
    return index not in film.told and event.who == who and event.what != "turn"
