"""Results of a search: moments and rankings."""

from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Predicted moments of N queries, best first, each row filled up to P.

    clips: `[N, P]` int32, numbers of clips in the corpus, -1 where there is no prediction.
    spans: `[N, P, 2]` int32, first and last frame, inclusive.
    scores: `[N, P]` float32, 0 where there is no prediction.
    """

    clips: np.ndarray
    spans: np.ndarray
    scores: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """`[N]`, how many predictions there are."""
        return np.sum(self.clips >= 0, axis=-1)


class Ranking(NamedTuple):
    """What `hero_jax.retrieval` finds for N queries.

    clips, clip_scores: `[N, V]`, as in `Moments`: the best clips.
    vcmr: moments in all of these; svmr: moments in the query's own clip. None where only clips were
      ranked.
    vcmr_nms, svmr_nms: the same after non-maximum suppression, None without.
    """

    clips: np.ndarray
    clip_scores: np.ndarray
    vcmr: Moments | None = None
    svmr: Moments | None = None
    vcmr_nms: Moments | None = None
    svmr_nms: Moments | None = None
