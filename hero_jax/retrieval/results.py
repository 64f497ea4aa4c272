"""Results of a search: moments and rankings."""

from typing import NamedTuple, TypeAlias

import jax
import numpy as np

# On devices while results are computed, on the host afterwards.
Array: TypeAlias = jax.Array | np.ndarray


class Moments(NamedTuple):
    """Predicted moments of N queries, best first, each row padded to P.

    clips: `[N, P]` int32, numbers of clips in the corpus, -1 where there is no prediction.
    spans: `[N, P, 2]` int32, first and last frame, inclusive.
    scores: `[N, P]` float32, 0 where there is no prediction.
    """

    clips: Array
    spans: Array
    scores: Array

    @property
    def counts(self) -> np.ndarray:
        """Numbers of predictions, `[N]`."""
        return np.sum(self.clips >= 0, axis=-1)


class Ranking(NamedTuple):
    """The ranking of clips and moments for N queries.

    clips, clip_scores: `[N, V]`, the best clips, as in `Moments`.
    vcmr: moments in all of these; svmr: moments in the query's target clip. None where only clips
      were ranked.
    vcmr_nms, svmr_nms: the same after non-maximum suppression; None without suppression.
    """

    clips: Array
    clip_scores: Array
    vcmr: Moments | None = None
    svmr: Moments | None = None
    vcmr_nms: Moments | None = None
    svmr_nms: Moments | None = None
