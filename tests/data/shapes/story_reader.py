"""Finds what a sentence says in a film of the sample corpus, from words and story alone."""

import dataclasses
import re

import numpy as np

from data.shapes.narration import PLACE_PHRASES
from data.shapes.source import tell_film
from data.shapes.story import COLOURS, FORMS, NAMES

VERBS = {
    **{"comes in": "enter", "enters": "enter", "leaves": "leave", "goes away": "leave"},
    **{"moves": "move", "goes": "move", "floats up": "rise", "rises into the air": "rise"},
    **{"sinks down": "sink", "comes down": "sink", "jumps up and down": "jump"},
    **{"hops up and down": "jump", "spins around": "spin", "whirls around": "spin"},
    **{"shakes": "shake", "trembles": "shake", "grows": "grow", "gets bigger": "grow"},
    **{"shrinks": "shrink", "gets smaller": "shrink", "turns": "turn", "changes to": "turn"},
    **{"jumps over": "jump_over", "leaps over": "jump_over", "meets": "meet"},
    **{"flies around": "circle", "circles": "circle", "follows": "follow", "chases": "follow"},
    "does something": "",
}
LOOKS = rf"the (?:(?:small|big) )?(?:{'|'.join(COLOURS)}) (?:{'|'.join(FORMS)})"
SOMEBODY = rf"somebody|{'|'.join(NAMES)}|{LOOKS}"
EVENT = re.compile(
    rf"(?P<who>{SOMEBODY}) (?P<verb>{'|'.join(VERBS)})(?: (?P<whom>{SOMEBODY}))?"
    rf"(?: (?:to|from) the (?P<side>left|right|sky))?(?: (?P<colour>{'|'.join(COLOURS)}))?"
    rf"(?: near (?P<near>{SOMEBODY}))?(?: (?P<place>{'|'.join(PLACE_PHRASES.values())}))?"
)
REMARK = re.compile(
    rf"(?P<name>\w+) is the name of (?P<who1>{SOMEBODY})|(?P<who2>{SOMEBODY}) "
    rf"(?:feels|is called|plans to|wants to|is|says(?: to (?P<whom>{SOMEBODY}))? that) (?P<what>.+)"
)


class Reader:
    """Finds in a film what a sentence says."""

    def __init__(self, index):
        self.story, self.subtitles, self.narration = tell_film(0, index)
        self.casts = [list(self.story.cast)]
        for event in self.story.events:
            cast = list(self.casts[-1])
            size = {"grow": "big", "shrink": "small"}.get(event.what, cast[event.who].size)
            colour = event.colour or cast[event.who].colour
            cast[event.who] = dataclasses.replace(
                cast[event.who], size=size, colour=colour, x=event.x, y=event.y
            )
            if event.whom is not None:
                cast[event.whom] = dataclasses.replace(
                    cast[event.whom], x=event.whom_x, y=event.whom_y
                )
            self.casts.append(cast)
        told = [entry["event"] for entry in self.narration if entry["kind"] == "event"]
        events = [self.story.events[index] for index in told]
        self.told_spans = [(event.start, event.end) for event in events]

    def spans(self, text):
        """First and last second of everything in the film that makes the sentence true."""
        text = re.sub(r"^(.*) and (.*) meet\b", r"\1 meets \2", text)
        if " while " in text:
            happens, _, said = text.partition(" while ")
            remarks = self.spans(said)
            return [
                span
                for span in self.spans(happens)
                if any(span[0] <= end and span[1] >= start for start, end in remarks)
            ]
        if text.startswith("it is "):
            right = PLACE_PHRASES[self.story.place] == text[6:]
            return [(0.0, self.story.duration)] * right
        if " is seen" in text or " is there at the beginning" in text:
            return self.seen(text)
        if (order := re.fullmatch("(.*) comes in (first|last|before (.*))", text)) is not None:
            return self.entries(*order.groups())
        if (found := EVENT.fullmatch(text)) is not None:
            return [
                (self.story.events[i].start, self.story.events[i].end) for i in self.find(found)
            ]
        return self.said(REMARK.fullmatch(text))

    def find(self, found):
        """Indices of the events that a match of EVENT describes."""
        fits = []
        for index, (event, cast) in enumerate(zip(self.story.events, self.casts, strict=False)):
            roles = [(event.who, event.whom)]
            if event.what in ("meet", "follow") and not found["verb"].startswith(("fol", "chas")):
                roles.append((event.whom, event.who))
            if (
                VERBS[found["verb"]] in ("", event.what)
                and any(
                    fit(found["who"], cast, who)
                    and (found["whom"] is None or whom is not None)
                    and fit(found["whom"], cast, whom)
                    for who, whom in roles
                )
                and found["side"] in (None, event.side)
                and found["colour"] in (None, event.colour)
                and fit(found["near"], cast, closest(cast, event.who))
                and found["place"] in (None, PLACE_PHRASES[self.story.place])
            ):
                fits.append(index)
        return fits

    def seen(self, text):
        who, beginning = text.rpartition(" is ")[0], "beginning" in text
        casts = self.casts[:1] if beginning else self.casts
        return [
            (0.0, self.story.duration)
            for cast in casts
            for number, actor in enumerate(cast)
            if actor.x is not None and fit(who, cast, number)
        ]

    def entries(self, who, order, whom):
        entries = [
            (event, cast)
            for event, cast in zip(self.story.events, self.casts, strict=False)
            if event.what == "enter"
        ]
        by = [[e.start for e, cast in entries if fit(one, cast, e.who)] for one in (who, whom)]
        starts = {"first": [entries[0][0].start], "last": [entries[-1][0].start]}
        if order in starts:
            right = bool({*by[0]} & {*starts[order]})
        else:
            right = any(one < other for one in by[0] for other in by[1])
        return [(event.start, event.end) for event, _ in entries if right and event.start in by[0]]

    def said(self, found):
        who, what = found["who1"] or found["who2"], found["name"] or found["what"]
        return [
            (subtitle.start, subtitle.end)
            for subtitle, entry in zip(self.subtitles, self.narration, strict=True)
            if entry["kind"] != "event"
            and entry.get("what", self.story.cast[entry["who"]].name) == what
            and any(fit(who, cast, entry["who"]) for cast in self.casts)
            and any(fit(found["whom"], cast, entry.get("whom")) for cast in self.casts)
        ]

    def deeds(self, text):
        """Returns whether '(last|after it comes in): X it VERB ...' is what X does then."""
        when, who, deed = re.fullmatch(rf"(.*): ({SOMEBODY}) it (.*)", text).groups()
        matches = [
            index
            for index in self.find(EVENT.fullmatch(f"{who} {deed}"))
            if fit(who, self.casts[index], self.story.events[index].who)
        ]
        form, events = who.split()[-1], self.story.events
        [actor] = [n for n, a in enumerate(self.story.cast) if form in (a.form, a.name)]
        together = ("meet", "follow")
        own = [
            i
            for i, e in enumerate(events)
            if actor == e.who or (actor == e.whom and e.what in together)
        ]
        entry = [i for i in own if events[i].what == "enter"]
        index = own[-1] if when == "last" else own[own.index(entry[0]) + 1]
        return [(events[i].start, events[i].end) for i in matches if i == index]


def fit(mention, cast, who):
    """Returns whether somebody is the one mentioned; anybody will do if nobody is."""
    if mention is None or (mention == "somebody" and who is not None):
        return True
    if who is None:
        return False
    actor = cast[who]
    looks = {"the", actor.size, actor.colour, actor.form}
    return mention == actor.name or set(mention.split()) <= looks


def closest(cast, who):
    distances = {
        other: np.hypot(actor.x - cast[who].x, actor.y - cast[who].y)
        for other, actor in enumerate(cast)
        if other != who and actor.x is not None and cast[who].x is not None
    }
    return min(distances, key=distances.get, default=None)
