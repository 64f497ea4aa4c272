"""Frame features of the sample corpus, computed from rendered pixels alone.

They replace those of a 2D network (content of a frame) and a 3D network (changes during it). Both
measure each colour: its position, size and form, and their changes between images taken less than
half a second apart.
"""

import dataclasses
import functools

import numpy as np

from data.shapes.render import sprites
from data.shapes.stage import CAST_COLOURS, EYE_COLOURS
from data.shapes.story import COLOURS, FORMS, FRAME_SIZE

# A smaller patch of a colour is a corner of a shape behind another.
_LEAST_PIXELS = 8
_GRID = 4
_STILL = 0.1  # squared pixels; far less movement than this has no mover
APPEARANCE_WIDTH = len(COLOURS) * (3 + len(FORMS)) + 3 * _GRID * _GRID
MOTION_WIDTH = len(COLOURS) * 8 + len(COLOURS) + len(FORMS) + 1


@dataclasses.dataclass(frozen=True)
class Patches:
    """The patch of each colour in each frame; arrays `[frame, colour]`, 0 if the colour is absent.

    present: True if the frame has the colour.
    x, y: centre in pixels.
    radius: radius of a disc of the same area, in pixels.
    turn: direction from the centre to the eye, a complex number of length 1; 0 without an eye.
    """

    present: np.ndarray
    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    turn: np.ndarray


def inks(frames: np.ndarray) -> np.ndarray:
    """Returns the ink of each pixel: 0 for none, 1 + colour for a body, 9 + colour for an eye.

    Args:
      frames: `[frame, y, x, 3]` uint8.
    """
    return _ink_table()[_cell(frames)]


def _cell(pixels: np.ndarray) -> np.ndarray:
    """Returns the cell of each pixel `[..., 3]` uint8 in the colour cube, cut into cells of 8."""
    red, green, blue = (pixels[..., band] >> 3 for band in range(3))
    return red.astype(np.uint16) << 10 | green.astype(np.uint16) << 5 | blue


@functools.cache
def _ink_table() -> np.ndarray:
    """Returns the ink of each cell of the colour cube."""
    table = np.zeros(1 << 15, np.uint8)
    table[_cell(np.concatenate([CAST_COLOURS, EYE_COLOURS]))] = np.arange(1, 2 * len(COLOURS) + 1)
    return table


class _Pixels:
    """The pixels of frames that have an ink, for sums by frame and colour."""

    def __init__(self, ink: np.ndarray):
        # This is much faster than np.nonzero on three axes.
        frame, self.y, self.x = np.unravel_index(np.flatnonzero(ink > 0), ink.shape)
        number = ink[frame, self.y, self.x].astype(np.int64) - 1
        self.is_eye = number >= len(COLOURS)
        self.shape = (len(ink), len(COLOURS))
        self.key = frame * len(COLOURS) + number % len(COLOURS)

    def sum(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Sums weights over the pixels, or counts the pixels: `[frame, colour]`."""
        cells = self.shape[0] * self.shape[1]
        return np.bincount(self.key, weights, minlength=cells).reshape(self.shape)


def _patches(pixels: _Pixels) -> Patches:
    area = pixels.sum()
    present = area >= _LEAST_PIXELS
    safe = np.maximum(area, 1)
    x, y = pixels.sum(pixels.x) / safe, pixels.sum(pixels.y) / safe
    eyes = np.maximum(pixels.sum(pixels.is_eye), 1e-9)
    towards = (
        pixels.sum(pixels.is_eye * pixels.x) / eyes
        - x
        + 1j * (pixels.sum(pixels.is_eye * pixels.y) / eyes - y)
    )
    has_eye = present & (eyes >= 1)
    turn = np.where(has_eye, towards / np.maximum(np.abs(towards), 1e-6), 0)
    radius = np.sqrt(area / np.pi)
    return Patches(present, x * present, y * present, radius * present, turn)


def _form_descriptors(pixels: _Pixels) -> np.ndarray:
    """Returns descriptors `[frame, colour, 5]` of forms, whatever their size and angle.

    They are the spread (1 for a disc), and the strength of 2, 3, 4 and 5 repetitions of the area
    around the centre.
    """
    area = np.maximum(pixels.sum(), 1)
    x, y = (pixels.sum(pixels.x) / area).ravel(), (pixels.sum(pixels.y) / area).ravel()
    place = pixels.x - x[pixels.key] + 1j * (pixels.y - y[pixels.key])
    squared = np.abs(place) ** 2
    direction = place / np.maximum(np.abs(place), 1e-6)
    inertia = np.maximum(pixels.sum(squared), 1e-6)
    descriptors = [2 * np.pi * inertia / area**2]
    for fold in (2, 3, 4, 5):
        wave = squared * direction**fold
        descriptors.append(np.hypot(pixels.sum(wave.real), pixels.sum(wave.imag)) / inertia)
    return np.stack(descriptors, -1)


@functools.cache
def _form_prototypes() -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and inverse covariance of each form's descriptors over sizes and angles."""
    stencils = sprites()
    descriptors = np.stack(
        [
            _form_descriptors(_Pixels((form > 0).astype(np.uint8)))[:, 0]
            for form in stencils.reshape(len(FORMS), -1, *stencils.shape[-2:])
        ]
    )  # [form, sprite, 5]
    mean = descriptors.mean(1)
    centred = descriptors - mean[:, None]
    covariance = np.einsum("fsi,fsj->fij", centred, centred) / centred.shape[1]
    return mean, np.linalg.inv(covariance + 3e-4 * np.eye(mean.shape[-1]))


def _resemblance(pixels: _Pixels) -> np.ndarray:
    """Returns the likeness `[frame, colour, form]` of each patch to each form, summing to 1."""
    mean, precision = _form_prototypes()
    away = _form_descriptors(pixels)[..., None, :] - mean
    distance = np.einsum("tcfi,fij,tcfj->tcf", away, precision, away)
    likeness = np.exp(-0.25 * (distance - distance.min(-1, keepdims=True)))
    return likeness / likeness.sum(-1, keepdims=True)


def appearance(frames: np.ndarray) -> np.ndarray:
    """Returns the 2D features `[frame, 128]` float64 of frames `[frame, 48, 48, 3]` uint8.

    For each colour these are radius, x, y and likeness to each form; then the mean RGB of a 4 by 4
    grid. They are not scaled yet.
    """
    pixels = _Pixels(inks(frames))
    patches = _patches(pixels)
    form = _resemblance(pixels) * patches.present[..., None]
    cell = FRAME_SIZE // _GRID
    rows = np.add.reduceat(frames, np.arange(0, FRAME_SIZE, cell), axis=1, dtype=np.uint16)
    grid = np.add.reduceat(rows, np.arange(0, FRAME_SIZE, cell), axis=2, dtype=np.uint32)
    grid = grid / (255 * cell * cell)
    half = FRAME_SIZE / 2
    centre = patches.present * half
    parts = (patches.radius, patches.x - centre, patches.y - centre, form, grid)
    return np.concatenate([part.reshape(len(frames), -1) for part in parts], axis=1)


def motion(frames: np.ndarray, steps: int) -> np.ndarray:
    """Returns the 3D features `[frame, 80]` float64, which are not scaled yet.

    For each colour these are signed roots of the means over the steps of the changes of x and y,
    of their sizes, of the change of the radius and of the angle by which the eye turned; then the
    nearness of the nearest other colour, and 1 for a colour that came, -1 for one that went. Last
    are the colour, form and radius of the patches, weighted by how much each moves.

    Args:
      frames: `[frame * steps + 1, 48, 48, 3]` uint8, `steps` per feature and the end of the last.
      steps: number of images per feature.
    """
    ink = inks(frames)
    patches = _patches(_Pixels(ink))
    both = patches.present[1:] & patches.present[:-1]

    def change(values: np.ndarray) -> np.ndarray:
        return np.where(both, values[1:] - values[:-1], 0)

    def mean(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, steps, values.shape[-1]).mean(1)

    dx, dy = change(patches.x), change(patches.y)
    turned = np.abs(np.angle(patches.turn[1:] * patches.turn[:-1].conj())) * both
    ends = patches.present[::steps].astype(float)
    moves = (dx, dy, np.abs(dx), np.abs(dy), change(patches.radius), turned)
    # Patches are mostly still, so scaling would magnify fast moves; the root brings them closer.
    parts = [np.sign(mean(move)) * np.sqrt(np.abs(mean(move))) for move in moves]
    parts += [mean(_nearness(patches)[1:]), ends[1:] - ends[:-1]]
    activity = mean(np.abs(dx) + np.abs(dy) + 2 * np.abs(moves[4]) + 3 * turned)
    share = activity**2 / (np.sum(activity**2, axis=1, keepdims=True) + _STILL)
    form = _resemblance(_Pixels(ink[steps // 2 : -1 : steps]))
    radius = share * mean(patches.radius[1:])
    mover = [share, np.einsum("tc,tcf->tf", share, form), radius.sum(1, keepdims=True)]
    return np.concatenate([*parts, *mover], axis=1)


def _nearness(patches: Patches) -> np.ndarray:
    """Returns `[frame, colour]` from 1 at the centre of the nearest other colour to 0 far away."""
    place = patches.x + 1j * patches.y
    distance = np.abs(place[:, :, None] - place[:, None, :])
    pair = patches.present[:, :, None] & patches.present[:, None, :]
    pair &= ~np.eye(len(COLOURS), dtype=bool)
    return np.where(pair, np.exp(-distance / 10), 0).max(-1)
