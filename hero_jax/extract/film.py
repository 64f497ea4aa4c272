"""Features of one film, by any number of networks, from one decode."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.video.decoding import MAX_PIXELS, Video
from data.video.sampling import Sampling
from hero_jax.extract.ahead import read_ahead
from hero_jax.extractors.base import Extractor

# Batches of rows that are decoded while a network works on another.
AHEAD = 2


@dataclasses.dataclass(frozen=True)
class FilmFeatures:
    """Features of a film.

    Attributes:
      parts: `[rows, width]` of each network in order, in float16, all with the same number of rows.
      cut: number of rows that each network gave beyond these, which another network did not.
      seconds: how much film there is: rows times seconds per feature.
      duration: seconds as the file declares them, -1 if it does not.
      source_rate: frames a second of the film, a whole number.
      warnings: sentences about the film, such as that it ends early.
    """

    parts: tuple[np.ndarray, ...]
    cut: tuple[int, ...]
    seconds: float
    duration: float
    source_rate: int
    warnings: tuple[str, ...]


def read_film(
    path: Path,
    extractors: Sequence[Extractor],
    seconds_per_feature: Fraction,
    even: bool = False,
    *,
    max_pixels: int = MAX_PIXELS,
    watched: Sequence[tuple[Sampling, Callable[[np.ndarray], None]]] = (),
    on_progress: Callable[[float, float], None] = lambda done, seconds: None,
) -> FilmFeatures:
    """Decodes a film once and computes its features; a thread decodes ahead of the networks.

    Networks round the end of a film differently: all are cut to the fewest rows of any.

    Args:
      path: the video file.
      extractors: networks, at least one.
      seconds_per_feature: seconds between two rows.
      even: whether the frames of a clip are evenly spaced, unlike the published ones.
      max_pixels: pixels of a frame beyond which a film is refused.
      watched: other samplings of the same decode, and what takes each of their rows.
      on_progress: gets the seconds of film that are done, and how many there are, now and then.

    Raises:
      InputError: the film cannot be used.
    """
    users: dict[Sampling, list[int]] = {}
    for number, extractor in enumerate(extractors):
        users.setdefault(extractor.sampling(seconds_per_feature, even), []).append(number)
    samplings = [*users, *(sampling for sampling, _ in watched)]
    sizes = [max(extractors[number].batch for number in of_one) for of_one in users.values()]
    features: list[list[np.ndarray]] = [[] for _ in extractors]
    rows_done = [0] * len(users)
    with (
        Video(path, max_pixels=max_pixels) as video,
        # The thread has to end before the file is closed under it.
        contextlib.closing(read_ahead(_batches(video, samplings, sizes), AHEAD)) as batches,
    ):
        for place, rows in batches:
            if place >= len(users):
                watched[place - len(users)][1](rows[0])
                continue
            for number in users[samplings[place]]:
                features[number].append(extractors[number](rows))
            rows_done[place] += len(rows)
            on_progress(float(min(rows_done) * seconds_per_feature), video.seconds)
    if not all(rows_done):
        raise InputError(
            f"{path} is too short for a row of features every {seconds_per_feature} s: leave "
            "it out, or extract more often"
        )
    parts, cut = _to_fewest([np.concatenate(batches) for batches in features])
    return FilmFeatures(
        parts=tuple(map(_half, parts, extractors, [path] * len(parts))),
        cut=cut,
        seconds=float(max(rows_done) * seconds_per_feature),
        duration=video.duration,
        source_rate=video.source_rate,
        warnings=tuple(video.warnings),
    )


def _to_fewest(parts: Sequence[np.ndarray]) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """Returns parts with the fewest rows of any, and how many rows each loses."""
    fewest = min(map(len, parts))
    return [part[:fewest] for part in parts], tuple(len(part) - fewest for part in parts)


def _batches(
    video: Video, samplings: Sequence[Sampling], sizes: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the rows of each sampling in batches of its size, the last ones smaller.

    Args:
      sizes: of the first samplings; the others have batches of one row.
    """
    waiting: list[list[np.ndarray]] = [[] for _ in samplings]
    sizes = [*sizes, *[1] * (len(samplings) - len(sizes))]
    for place, row in video.rows(samplings):
        waiting[place].append(row)
        if len(waiting[place]) == sizes[place]:
            yield place, np.stack(waiting[place])
            waiting[place].clear()
    for place, left in enumerate(waiting):
        if left:
            yield place, np.stack(left)


def _half(features: np.ndarray, extractor: Extractor, path: Path) -> np.ndarray:
    """Returns features in float16; raises InputError for numbers that it cannot hold."""
    with np.errstate(over="ignore"):
        half = features.astype(np.float16)
    if not np.isfinite(half).all():
        row = int(np.argmin(np.isfinite(half).all(axis=1)))
        raise InputError(
            f"{extractor.name} gives {np.abs(features[row]).max():g} in row {row} of {path}, which "
            "half precision does not hold: check its weights"
        )
    return half
