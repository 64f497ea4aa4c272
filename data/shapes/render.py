"""Frames of a story: the actors' positions at given moments, drawn as small images."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from data.shapes.stage import BODY_INK, EYE_INK, FIRST_LAND_INK, lights, palettes, stage
from data.shapes.story import COLOURS, FORMS, FRAME_SIZE, Event, Story

RADIUS = {"small": 4.5, "big": 7.0}
_MARGIN = 8  # pixels of a sprite on each side of its centre, more than the largest radius
_GRID = np.arange(-_MARGIN, _MARGIN + 1)
_PADDING = 2 * _MARGIN  # pixels of the canvas around the frame
_OFFSTAGE = _MARGIN + 2.0  # pixels beyond the edge
_RADII = np.arange(RADIUS["small"], RADIUS["big"] + 0.25, 0.5)
_ANGLES = 24


@dataclasses.dataclass(frozen=True)
class Tracks:
    """State of each actor at each moment; arrays are `[cast, time]`.

    x, y: centre in pixels.
    radius: pixels.
    angle: radians.
    colour: index into COLOURS.
    visible: True while the actor is on stage.
    """

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    colour: np.ndarray
    visible: np.ndarray


def tracks(story: Story, times: np.ndarray) -> Tracks:
    """Plays a story at ascending moments `times` `[time]` in seconds."""

    def constant(values: Sequence[float], dtype: type = np.float32) -> np.ndarray:
        return np.repeat(np.array(values, dtype)[:, None], len(times), axis=1)

    cast = story.cast
    played = Tracks(
        x=constant([0 if actor.x is None else actor.x for actor in cast]),
        y=constant([0 if actor.y is None else actor.y for actor in cast]),
        radius=constant([RADIUS[actor.size] for actor in cast]),
        angle=constant([0] * len(cast)),
        colour=constant([COLOURS.index(actor.colour) for actor in cast], np.int64),
        visible=constant([actor.x is not None for actor in cast], bool),
    )
    for event in story.events:
        first = int(np.searchsorted(times, event.start))
        if first < len(times):
            seconds = np.minimum(times[first:], event.end) - event.start
            _play(played, event, first, seconds)
    return played


def _play(played: Tracks, event: Event, first: int, seconds: np.ndarray) -> None:
    """Writes an event into the tracks from moment `first` on; the state at its end stays."""
    length = event.end - event.start
    part = seconds / length
    smooth = part * part * (3 - 2 * part)
    x, y = played.x[event.who, first:], played.y[event.who, first:]
    if event.what == "enter":
        x[:], y[:] = event.position
        played.visible[event.who, first:] = True
        _slide(x, y, *_outside(event.side, *event.position), 1 - smooth)
    elif event.what == "leave":
        _slide(x, y, *_outside(event.side, x[0], y[0]), smooth)
        played.visible[event.who, first:] = part < 1
    elif event.what == "circle":
        _orbit(x, y, event, part)
    elif event.what == "jump":
        y -= 9 * np.abs(np.sin(np.pi * max(round(length), 2) * part))
    elif event.what == "shake":
        x += 2 * np.sin(2 * np.pi / 0.6 * seconds) * (part < 1)
    elif event.what == "spin":
        played.angle[event.who, first:] = 2 * np.pi * max(round(length / 1.5), 1) * part
    elif event.what in ("grow", "shrink"):
        target = RADIUS["big" if event.what == "grow" else "small"]
        radius = played.radius[event.who, first:]
        radius += (target - radius) * smooth
    elif event.what == "turn":
        played.colour[event.who, first:][part >= 0.5] = COLOURS.index(event.colour)
    else:
        to_x, to_y = event.position
        middle = (y[0] + to_y) / 2
        _slide(x, y, to_x, to_y, smooth)
        if event.what == "jump_over":
            y -= max(8.0, middle - event.whom_position[1] + 15) * np.sin(np.pi * smooth)
        if event.whom is not None:
            whom_x, whom_y = played.x[event.whom, first:], played.y[event.whom, first:]
            _slide(whom_x, whom_y, *event.whom_position, smooth)


def _slide(x: np.ndarray, y: np.ndarray, to_x: float, to_y: float, part: np.ndarray) -> None:
    """Moves the positions `[time]` to a position, by a part of the way at each moment."""
    x += (to_x - x) * part
    y += (to_y - y) * part


def _outside(side: str, x: float, y: float) -> tuple[float, float]:
    """Returns the position off stage from where an actor comes to x, y."""
    return {
        "left": (-_OFFSTAGE, y),
        "right": (FRAME_SIZE + _OFFSTAGE, y),
        "sky": (x, -_OFFSTAGE),
    }[side]


def _orbit(x: np.ndarray, y: np.ndarray, event: Event, part: np.ndarray) -> None:
    """Moves an actor close to the other, once around it, and back."""
    whom_x, whom_y = event.whom_position
    away_x, away_y = x[0] - whom_x, y[0] - whom_y
    angle = np.arctan2(away_y, away_x) + 2 * np.pi * part
    distance = np.hypot(away_x, away_y)
    near = np.clip(5 * np.minimum(part, 1 - part), 0, 1)
    distance = distance + (13 - distance) * near
    x[:] = whom_x + distance * np.cos(angle)
    y[:] = whom_y + distance * np.sin(angle)


def render(story: Story, times: np.ndarray) -> np.ndarray:
    """Draws the frames `[time, 48, 48, 3]` uint8 of a story at ascending moments in seconds."""
    played = tracks(story, times)
    canvas = np.repeat(np.pad(stage(story), _PADDING)[None], len(times), axis=0)
    for ink, radius, x, y in lights(story, times):
        disc = np.hypot(_GRID[:, None], _GRID) <= radius
        _stamp(canvas, np.arange(len(times)), np.where(disc, ink, 0)[None], x, y, in_sky=True)
    for who, actor in enumerate(story.cast):
        seen = np.flatnonzero(played.visible[who])
        size = np.rint((played.radius[who, seen] - _RADII[0]) * 2).astype(int)
        turn = np.rint(played.angle[who, seen] * (_ANGLES / (2 * np.pi))).astype(int) % _ANGLES
        stencils = sprites()[FORMS.index(actor.form), size, turn]
        inks = np.where(stencils, stencils + played.colour[who, seen, None, None], 0)
        _stamp(canvas, seen, inks, played.x[who, seen], played.y[who, seen])
    frames = np.empty((len(times), FRAME_SIZE, FRAME_SIZE, 4), np.uint8)
    colours = palettes(story, times).view(np.uint32)[..., 0]
    inner = slice(_PADDING, _PADDING + FRAME_SIZE)
    for frame, palette, inks in zip(frames.view(np.uint32)[..., 0], colours, canvas, strict=True):
        np.take(palette, inks[inner, inner], out=frame, mode="clip")
    return frames[..., :3]


def _stamp(
    canvas: np.ndarray,
    moments: np.ndarray,
    inks: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    in_sky: bool = False,
) -> None:
    """Writes the inks that are not 0 into the canvas.

    Args:
      canvas: `[time, y, x]`.
      moments: indices `[moment]` into the canvas' times.
      inks: `[moment or 1, 17, 17]`.
      x, y: centre of the inks `[moment]`, in pixels of the frame.
      in_sky: writes over the sky only.
    """
    inks = np.broadcast_to(inks, (len(moments), *inks.shape[1:]))
    which, row, column = np.unravel_index(np.flatnonzero(inks > 0), inks.shape)
    limits = -_MARGIN, FRAME_SIZE + _MARGIN - 1  # beyond them nothing is visible
    top = np.clip(np.rint(y).astype(int), *limits) + _PADDING - _MARGIN
    left = np.clip(np.rint(x).astype(int), *limits) + _PADDING - _MARGIN
    place = moments[which], top[which] + row, left[which] + column
    ink = inks[which, row, column]
    canvas[place] = np.where(canvas[place] < FIRST_LAND_INK, ink, canvas[place]) if in_sky else ink


@functools.cache
def sprites() -> np.ndarray:
    """Returns stencils `[form, radius, angle, 17, 17]` of the first body and eye ink, 0 outside."""
    angles = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
    radius = _RADII[:, None, None, None]
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    down, right = _GRID[:, None], _GRID
    u, v = (right * cos + down * sin) / radius, (down * cos - right * sin) / radius
    stencils = []
    for form in FORMS:
        eye = np.hypot(u - (0.79 if form == "ring" else 0.4), v) < 0.27
        stencils.append(np.where(eye, EYE_INK, np.where(_inside(form, u, v), BODY_INK, 0)))
    return np.stack(stencils).astype(np.uint8)


def _inside(form: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Returns a mask of the points that belong to a form of radius 1."""
    distance, angle = np.hypot(u, v), np.arctan2(v, u)
    if form == "circle":
        return distance <= 0.95
    if form == "square":
        return np.maximum(np.abs(u), np.abs(v)) <= 0.85
    if form == "triangle":
        return (v <= 0.65) & (np.abs(u) * 1.75 - v <= 1.0)
    if form == "star":
        spike = np.abs((angle + np.pi / 2) * 5 / (2 * np.pi) % 1 - 0.5) * 2
        return distance <= 0.42 + 0.68 * spike**1.3
    if form == "cross":
        arms = np.minimum(np.abs(u), np.abs(v)) <= 0.3
        return arms & (np.maximum(np.abs(u), np.abs(v)) <= 1.0)
    if form == "ring":
        return (distance <= 1.0) & (distance >= 0.58)
    return np.hypot(u, v / 0.5) <= 1.05  # oval
