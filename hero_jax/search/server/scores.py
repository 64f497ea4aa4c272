"""The score of each frame of a film under a query: the cosine by which clips are found."""

import dataclasses

import numpy as np

from hero_jax.index import Snapshot
from hero_jax.models.heads import NORM_FLOOR
from hero_jax.search.server.catalog import ListedFilm

# Points of a curve; of a longer film, each is the best of several frames.
MOST_POINTS = 300


@dataclasses.dataclass(frozen=True)
class FilmScores:
    """The scores of a film's frames.

    start: second at which the first frame begins.
    step: seconds from one to the next.
    cosines: `[frames]`, -inf where no clip has a frame.
    """

    start: float
    step: float
    cosines: np.ndarray

    def share(self, start: float, end: float, temperature: float) -> float:
        """Returns the share that a moment has of the film.

        It is the softmax over the film's frames, with the temperature of the ranking of clips,
        summed over the frames of the moment.
        """
        first, last = (round((second - self.start) / self.step) for second in (start, end))
        weights = np.exp(temperature * (self.cosines - self.cosines.max()))
        return float(weights[max(first, 0) : max(last, first + 1)].sum() / weights.sum())

    def curve(self) -> tuple[float, list[float | None]]:
        """Returns seconds from one point to the next, and points, None where there is no frame."""
        merged = -(-len(self.cosines) // MOST_POINTS)
        missing = -len(self.cosines) % merged
        padded = np.pad(self.cosines, (0, missing), constant_values=-np.inf)
        best = padded.reshape(-1, merged).max(axis=1)
        points = [round(value, 4) if value > -np.inf else None for value in best.tolist()]
        return merged * self.step, points


def film_scores(index: Snapshot, film: ListedFilm, query: np.ndarray) -> FilmScores:
    """Computes the scores of a film's frames; a frame of several windows has its best.

    Args:
      query: `[H]`.
    """
    step = index.seconds_per_feature
    lengths = index.num_frames()
    unit = query / max(float(np.linalg.norm(query)), NORM_FLOOR)
    firsts = [round((index.describe(n).start - film.start) / step) for n in film.numbers]
    total = max(first + int(lengths[n]) for first, n in zip(firsts, film.numbers, strict=True))
    cosines = np.full(total, -np.inf, np.float32)
    for first, number in zip(firsts, film.numbers, strict=True):
        count = int(lengths[number])
        frames = np.asarray(index.block(number, 1)[0, :count], np.float32)
        norms = np.maximum(index.norms(number, 1)[0, :count], NORM_FLOOR)
        place = slice(first, first + count)
        cosines[place] = np.maximum(cosines[place], frames @ unit / norms)
    return FilmScores(film.start, step, cosines)
