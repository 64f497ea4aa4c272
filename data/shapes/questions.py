"""Questions about the sample corpus' films with five answers, like those of TVQA.

A question and its answers do not reveal the right answer, because wrong ones are drawn from the
same distribution. For labels in which stories are symmetric (see `data.shapes.film`), any others
serve as wrong answers. Some actions are more frequent than others, so their wrong answers are the
right ones of four other films.
"""

import dataclasses
import random
from collections.abc import Iterable, Iterator, Sequence

from data.schema import RawQuery
from data.shapes.film import Film, Moment, Remark, moment, shape, tell_plainly, tell_remark
from data.shapes.narration import FEELINGS, PLACE_PHRASES, PLANS, SPEECH, narrate
from data.shapes.plot import tell
from data.shapes.story import COLOURS, FORMS, NAMES, Actor, Event

ANSWERS = 5
_QUESTIONS = 12  # of a film, at most
_SHARE_OF_RIVALS = 0.2  # share of the cast that is among the wrong answers
_INFINITIVES = {"jump_over": "jump over", "circle": "fly around", "follow": "follow"}
_TOGETHER = ("meet", "follow")  # actions in which both actors are active
# For each kind of remark: a question about it, all its answers, and the inverse question.
_SAID = {
    "name": ("what is {who} called", NAMES, "who is called {what}"),
    "feeling": ("how does {who} feel", FEELINGS, "who is {what}"),
    "plan": ("what does {who} want to do", PLANS, "who wants to {what}"),
    "speech": ("what does {who} say", SPEECH, "who says that {what}"),
}


@dataclasses.dataclass(frozen=True)
class _Question:
    """A question that may be asked about a film.

    topic: subject of the question; a film has at most one question of a topic.
    kind: see `data.shapes.film`.
    text: the question without its question mark.
    right: right answer.
    wrong: four wrong answers.
    moment: first and last second of the answer.
    """

    topic: str
    kind: str
    text: str
    right: str
    wrong: tuple[str, ...]
    moment: Moment


def questions(film: Film, rng: random.Random) -> list[RawQuery]:
    """Draws up to twelve questions of different topics; their ids name the topic."""
    by_topic: dict[str, list[_Question]] = {}
    for ask in (_appearances, _places, _entries, _events, _said, _meanwhile):
        for question in ask(film, rng):
            by_topic.setdefault(question.topic, []).append(question)
    chosen = [rng.choice(candidates) for candidates in by_topic.values()]
    chosen += _deeds(film, rng)
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
    """Draws four values other than the right one."""
    return tuple(rng.sample([value for value in values if value != right], ANSWERS - 1))


def _shapes(
    rng: random.Random,
    right: Actor,
    rivals: Iterable[Actor] = (),
    mentioned: Sequence[Actor] = (),
    also_right: Iterable[Actor] = (),
) -> tuple[str, ...]:
    """Draws four wrong shapes, whose colours and forms no other shape in the question has.

    Args:
      rng: source of the draws.
      right: the right answer.
      rivals: wrong answers that are in the film; about a fifth of them is taken.
      mentioned: shapes that the question mentions.
      also_right: shapes that would be right as well.
    """
    used = [right, *mentioned]
    wrong: list[Actor] = []
    for rival in rivals:
        is_free = all(rival.colour != actor.colour and rival.form != actor.form for actor in used)
        if is_free and len(wrong) < ANSWERS - 1 and rng.random() < _SHARE_OF_RIVALS:
            wrong.append(rival)
            used.append(rival)
    colours = [colour for colour in COLOURS if colour not in {actor.colour for actor in used}]
    forms = [form for form in FORMS if form not in {actor.form for actor in used}]
    barred = {shape(actor) for actor in also_right}
    more = ANSWERS - 1 - len(wrong)
    while True:
        looks = zip(rng.sample(colours, more), rng.sample(forms, more), strict=True)
        drawn = [shape(dataclasses.replace(right, colour=c, form=f)) for c, f in looks]
        if not barred & set(drawn):
            return (*map(shape, wrong), *drawn)


def _appearances(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Asks who is seen, and in which colour and form."""
    actors = [spell.actor for spell in film.spells]
    colours = [spell.actor.colour for spell in film.spells]
    forms = [spell.actor.form for spell in film.spells]
    for spell in film.spells:
        right, span = spell.actor, spell.moment
        wrong = _shapes(rng, right, also_right=actors)
        yield _Question("seen", "v", "who is seen", shape(right), wrong, span)
        if span[0] == 0:
            first = [other.actor for other in film.spells if other.moment[0] == 0]
            first_forms = {actor.form for actor in first}
            later = [actor for actor in actors if actor.form not in first_forms]
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
    """Keeps one of the actors that occur with several colours."""
    return list({actor.form: actor for actor in actors}.values())


def _places(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Asks where the film takes place."""
    phrases = PLACE_PHRASES
    right = phrases[film.story.place]
    span = (0.0, film.story.duration)
    yield _Question("place", "v", "where is it", right, _others(rng, phrases.values(), right), span)


def _entries(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Asks who comes in first and last."""
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
    """Asks who does what no subtitle tells and no one else does."""
    events = film.story.events
    deeds = [(event.what, event.side) for event in events]
    for event, cast in film.untold_events():
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
    """Asks for one of the two actors of an event; the question mentions the other."""
    alike = [other for other in film.story.events if other.what == event.what]
    # Either of two who meet would be a right answer.
    if event.what == "meet" or event.whom is None:
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
    """Yields topic suffix, kind and phrase: by looks, and by name if subtitles introduce it."""
    yield "", "v", shape(actor)
    if who in film.named:
        yield "_by_name", "vt", actor.name


def _said(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Asks what subtitles say of an actor, and of whom they say it."""
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
    """Asks who does something while something is said of others."""
    for remark in film.remarks:
        event, cast = film.story.events[remark.event], film.looks[remark.event]
        about = [remark.who] if remark.whom is None else [remark.who, remark.whom]
        if remark.kind == "name" or event.who in about or not _is_alone(film, remark):
            continue
        who = cast[event.who]
        mentioned = [cast[index] for index in about]
        rivals = [actor for actor in cast if actor is not who]
        wrong = _shapes(rng, who, rivals, mentioned)
        text = f"who does something while {tell_remark(film, remark)}"
        yield _Question("meanwhile", "vt", text, shape(who), wrong, moment(event))


def _is_alone(film: Film, remark: Remark) -> bool:
    """Returns whether exactly one actor does something during a remark."""
    begin, end = remark.moment
    active: set[int] = set()
    for event in film.story.events:
        if event.start < end and event.end > begin:
            active |= _active(event)
    return len(active) == 1


def _active(event: Event) -> set[int]:
    """Returns the actors who do something in an event: not one jumped over or flown around."""
    if event.what in _TOGETHER and event.whom is not None:
        return {event.who, event.whom}
    return {event.who}


def _deeds(film: Film, rng: random.Random) -> Iterator[_Question]:
    """Asks what an actor does, with actions as answers."""
    for topic, kind in (("after_entry", "v"), ("at_last", "v"), ("at_last_by_name", "vt")):
        deed = _deed(film, topic, rng)
        if deed is None:
            continue
        text, right, span = deed
        answers = {right}
        # Replacing an answer that was drawn twice would favour rare actions: no question then.
        while len(answers) < ANSWERS:
            other = _deed(_another_film(rng), topic, rng)
            if other is not None and other[1] in answers:
                break
            if other is not None:
                answers.add(other[1])
        else:
            yield _Question(topic, kind, text, right, tuple(sorted(answers - {right})), span)


def _another_film(rng: random.Random) -> Film:
    """Draws a film that is in no corpus."""
    story = tell(rng)
    return Film("", story, *narrate(story, rng))


def _deed(film: Film, topic: str, rng: random.Random) -> tuple[str, str, Moment] | None:
    """Draws an actor that the topic fits; returns question, right answer and moment, or None."""
    candidates = []
    for who in range(len(film.story.cast)):
        of_actor = [i for i, event in enumerate(film.story.events) if who in _active(event)]
        entries = [i for i in of_actor if film.story.events[i].what == "enter"]
        if topic != "after_entry":
            asked = of_actor[-1:]
        else:
            asked = [i for i in of_actor if len(entries) == 1 and i > entries[0]][:1]
        if topic == "at_last_by_name" and who not in film.named:
            continue
        candidates += [(who, i) for i in asked if _can_be_asked(film, who, i)]
    if not candidates:
        return None
    who, index = rng.choice(candidates)
    event, actor = film.story.events[index], film.looks[index][who]
    called = actor.name if topic == "at_last_by_name" else shape(actor)
    when = "after it comes in" if topic == "after_entry" else "last"
    answer = tell_plainly(event, "it", "somebody", 1 if event.what == "meet" else 0)
    return f"what does {called} do {when}", answer, moment(event)


def _can_be_asked(film: Film, who: int, index: int) -> bool:
    """Returns whether an actor's event may be an answer.

    Subtitles must not tell it, and it must not change the colour that the question mentions.
    """
    event = film.story.events[index]
    return index not in film.told and event.who == who and event.what != "turn"
