"""Questions which of two events can follow the sample corpus' films, like those of VLEP.

Both events are the same action, of two shapes of which only one can do it as the film ends: what is
small can grow, what is low can float up, what is on stage can leave. Colours and forms are
symmetric (see `data.shapes.film`), and events are left out whose subtitles tell where or how big
one of the shapes is, so the right one has to be seen.
"""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterator

from data.schema import RawQuery
from data.shapes.film import Film, shape
from data.shapes.narration import sentence
from data.shapes.story import COLOURS, FORMS, FRAME_SIZE, Actor, Event

_PAIRS = 6  # of a film, at most
# Pixels; the stories' own limits (see `data.shapes.plot`) lie between.
_HIGH, _LOW = 23, 30
_LEFT, _RIGHT = FRAME_SIZE / 2 - 6, FRAME_SIZE / 2 + 6
_MOVES = ("enter", "move", "jump_over", "meet", "follow")


@dataclasses.dataclass(frozen=True)
class _Action:
    """An action, and what it depends on.

    side: of the event.
    able, unable: whether an actor can do it, and cannot, as the film ends.
    settled_by: actions that change this.
    """

    what: str
    side: str
    able: Callable[[Actor], bool]
    unable: Callable[[Actor], bool]
    settled_by: tuple[str, ...]


# What can follow and what cannot: an action, and the actor that does it.
_Pair = tuple[tuple[_Action, Actor], tuple[_Action, Actor]]


def _is(*, at: str, below: float | None = None, above: float | None = None) -> Callable:
    """Returns whether an actor on stage is on one side of a coordinate."""

    def check(actor: Actor) -> bool:
        place = getattr(actor, at)
        return place is not None and (place < below if above is None else place > above)

    return check


def _on_stage(actor: Actor) -> bool:
    return actor.x is not None


def _off_stage(actor: Actor) -> bool:
    return actor.x is None


def _small(actor: Actor) -> bool:
    return _on_stage(actor) and actor.size == "small"


def _big(actor: Actor) -> bool:
    return _on_stage(actor) and actor.size == "big"


_left, _right = _is(at="x", below=_LEFT), _is(at="x", above=_RIGHT)
_high, _low = _is(at="y", below=_HIGH), _is(at="y", above=_LOW)
_SIZES = ("grow", "shrink")
_HEIGHTS = ("enter", "rise", "sink", "meet")
_PRESENCE = ("enter", "leave")
_ACTIONS = (
    _Action("grow", "", _small, _big, _SIZES),
    _Action("shrink", "", _big, _small, _SIZES),
    _Action("rise", "", _low, _high, _HEIGHTS),
    _Action("sink", "", _high, _low, _HEIGHTS),
    _Action("move", "left", _right, _left, _MOVES),
    _Action("move", "right", _left, _right, _MOVES),
    _Action("leave", "left", _on_stage, _off_stage, _PRESENCE),
    _Action("enter", "left", _off_stage, _on_stage, _PRESENCE),
)


def events(film: Film, rng: random.Random) -> list[RawQuery]:
    """Draws up to six pairs of an event that can follow and one that cannot."""
    candidates = [*_of_two(film), *_of_one(film), *_of_unknown(film, rng)]
    pairs = rng.sample(candidates, min(len(candidates), _PAIRS))
    return [_question(film, number, pair, rng) for number, pair in enumerate(pairs)]


def _of_two(film: Film) -> Iterator[_Pair]:
    """Yields an action of two actors of whom one alone can do it."""
    last = film.all_looks[-1]
    for able, unable in itertools.permutations(range(len(last)), 2):
        for action in _ACTIONS:
            fits = action.able(last[able]) and action.unable(last[unable])
            if fits and not any(_is_told(film, action, who) for who in (able, unable)):
                yield (action, last[able]), (action, last[unable])


def _of_one(film: Film) -> Iterator[_Pair]:
    """Yields two opposite actions of an actor who can do only one of them.

    Heights are left out: actors are low more often than high, which words alone would tell.
    """
    for who, actor in enumerate(film.all_looks[-1]):
        for action, opposite in itertools.permutations(_ACTIONS, 2):
            is_pair = action.settled_by == opposite.settled_by in (_SIZES, _MOVES)
            fits = is_pair and action.able(actor) and opposite.unable(actor)
            if fits and not _is_told(film, action, who):
                yield (action, actor), (opposite, actor)


def _of_unknown(film: Film, rng: random.Random) -> Iterator[_Pair]:
    """Yields actions of actors whom no subtitle names, and of shapes that are never seen."""
    last = film.all_looks[-1]
    worn = {actor.colour for cast in film.all_looks for actor in cast}
    colours = [colour for colour in COLOURS if colour not in worn]
    forms = [form for form in FORMS if form not in {actor.form for actor in last}]
    unknown = [actor for actor in last if _on_stage(actor) and not _is_named(film, actor)]
    # In a few films shapes have turned to all colours.
    for actor in unknown if colours else ():
        for what in ("jump", "spin", "shake"):
            colour, form = rng.choice(colours), rng.choice(forms)
            other = dataclasses.replace(actor, colour=colour, form=form)
            action = _Action(what, "", _on_stage, _off_stage, ())
            yield (action, actor), (action, other)


def _is_named(film: Film, actor: Actor) -> bool:
    looks = f"{actor.colour} {actor.form}"
    return any(looks in subtitle.text for subtitle in film.subtitles)


def _is_told(film: Film, action: _Action, who: int) -> bool:
    """Returns whether subtitles tell what an action depends on."""
    changes = [
        index
        for index, event in enumerate(film.story.events)
        if who in (event.who, event.whom) and event.what in action.settled_by
    ]
    actor = film.all_looks[-1][who]
    # Sizes are told in passing as well: 'the small red circle'.
    sized = f"{actor.size} {actor.colour} {actor.form}"
    in_passing = action.settled_by == _SIZES and any(sized in s.text for s in film.subtitles)
    return in_passing or (bool(changes) and changes[-1] in film.told)


def _question(film: Film, number: int, pair: _Pair, rng: random.Random) -> RawQuery:
    variant, label = rng.randrange(2), rng.randrange(2)
    texts = [_text(action, actor, variant) for action, actor in pair]
    return RawQuery(
        f"{film.clip_id}-{number}",
        film.clip_id,
        "",
        kind="v",
        answers=tuple(texts[:: -1 if label else 1]),
        label=label,
    )


def _text(action: _Action, actor: Actor, variant: int) -> str:
    return sentence(Event(action.what, 0, 0, 0, side=action.side), shape(actor), variant=variant)
