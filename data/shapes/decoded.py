"""Features of the sample corpus from the frames of video files, which a codec has changed a little.

They are those that `data.shapes.source.film` has for the same film.
"""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from data.shapes import features
from data.shapes.source import SECONDS_PER_FEATURE, STEPS, scaled, scales
from data.shapes.stage import CAST_COLOURS, EYE_COLOURS
from data.shapes.story import ENLARGED, FRAME_SIZE, VIDEO_RATE
from data.video.sampling import FilmFacts, Framing, RowMaker

# Frames from one image that features are measured on to the next.
_STRIDE = int(VIDEO_RATE * SECONDS_PER_FEATURE / STEPS)
_INKS = np.concatenate([CAST_COLOURS, EYE_COLOURS]).astype(np.float32)
# How far a colour may be from an ink to be taken for it. What is no shape is paler: it is at least
# 66 from all bodies and 33 from all eyes.
_REACH = np.repeat(np.array([45, 25], np.float32), len(CAST_COLOURS))


@dataclasses.dataclass(frozen=True)
class Images:
    """The images that features are measured on, one in 3/8 seconds.

    moving: whether a row holds all images of its 1.5 seconds and the one after, not the middle one.
    """

    moving: bool

    def rate(self, film: FilmFacts) -> Fraction:
        """Returns the rate of the corpus' films: what is shown at the time of an image is exact."""
        del film
        return Fraction(VIDEO_RATE)

    def picture(self, film: FilmFacts) -> Framing:
        """Returns the whole frame, squeezed to the size of the corpus' films."""
        del film
        return Framing(FRAME_SIZE * ENLARGED, FRAME_SIZE * ENLARGED, None)

    def rows(self, film: FilmFacts) -> RowMaker:
        """Returns what makes rows `[384, 384, 3]`, or `[5, 384, 384, 3]` if they are moving."""
        del film
        return _ImageRows(self.moving)

    def warnings(self, film: FilmFacts) -> list[str]:
        """Returns a sentence about a film that is none of the corpus, whose films are square."""
        if film.width == film.height:
            return []
        return ["is no film of the sample corpus: its features mean nothing for another film"]


class _ImageRows:
    """Rows of images, of which those after the film's end show its last frame."""

    def __init__(self, moving: bool):
        self._moving = moving
        self._images: list[np.ndarray] = []
        self._seen = 0
        self._last: np.ndarray | None = None

    def push(self, frame: np.ndarray) -> Iterator[np.ndarray]:
        """Takes the next frame; yields the row whose images are there."""
        if self._seen % _STRIDE == 0:
            self._images.append(frame)
        self._seen += 1
        self._last = frame
        if len(self._images) > STEPS:
            yield self._row()
            # The end of a row is the beginning of the next.
            del self._images[:STEPS]

    def finish(self) -> Iterator[np.ndarray]:
        """Yields the row that goes on after the end."""
        if self._last is not None:
            self._images += [self._last] * (STEPS + 1 - len(self._images))
            yield self._row()

    def _row(self) -> np.ndarray:
        return np.stack(self._images) if self._moving else self._images[STEPS // 2]


def appearance(rows: np.ndarray) -> np.ndarray:
    """Returns the 2D features `[n, 128]` float32 of images `[n, 384, 384, 3]` uint8."""
    found = [features.appearance(restored(image[None])) for image in rows]
    found.append(np.zeros((0, features.APPEARANCE_WIDTH)))
    return scaled(np.concatenate(found), scales()[0]).astype(np.float32)


def motion(rows: np.ndarray) -> np.ndarray:
    """Returns the 3D features `[n, 80]` float32 of images `[n, 5, 384, 384, 3]` uint8."""
    found = [features.motion(restored(images), STEPS) for images in rows]
    found.append(np.zeros((0, features.MOTION_WIDTH)))
    return scaled(np.concatenate(found), scales()[1]).astype(np.float32)


def restored(frames: np.ndarray) -> np.ndarray:
    """Returns frames `[n, 48, 48, 3]` uint8 as they were rendered, but for shades of the stage.

    Args:
      frames: `[n, 384, 384, 3]` uint8.
    """
    # Around the edges of its block, a pixel's colour runs into those beside it.
    blocks = frames.reshape(-1, FRAME_SIZE, ENLARGED, FRAME_SIZE, ENLARGED, 3)
    inner = slice(ENLARGED // 4, ENLARGED - ENLARGED // 4)
    colours = blocks[:, :, inner, :, inner].mean((2, 4), dtype=np.float32)
    away = np.linalg.norm(colours[..., None, :] - _INKS, axis=-1)
    nearest = away.argmin(-1)
    is_ink = away.min(-1) < _REACH[nearest]
    return np.where(is_ink[..., None], _INKS[nearest], np.rint(colours)).astype(np.uint8)
