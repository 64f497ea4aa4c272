"""The queries that a batch has about a clip: drawn from its subtitles, annotated, or none."""

from collections.abc import Callable, Sequence

import numpy as np

from data.pipeline.segments import Prepared

# Words of a query, and its first and last frame, inclusive.
Words = Sequence[int] | np.ndarray
Asked = tuple[Words, tuple[int, int]]
# Returns the numbers of a clip's subtitles that are held out, and its queries.
Choose = Callable[[Prepared], tuple[np.ndarray, Sequence[Asked]]]


def drawn_subtitles(seed: int, step: int, count: int) -> Choose:
    """Returns a function that draws `count` of a clip's subtitles that have frames and words.

    The draw depends on the seed, the step and the clip.
    """

    def choose(prepared: Prepared) -> tuple[np.ndarray, list[Asked]]:
        generator = np.random.default_rng([seed, step, prepared.number])
        chosen = np.sort(generator.permutation(sorted(prepared.spans))[:count]).astype(int)
        return chosen, [(prepared.subtitles[j], prepared.spans[j]) for j in chosen]

    return choose


def annotated_queries(prepared: Prepared) -> tuple[np.ndarray, list[Asked]]:
    """Chooses a clip's annotated queries; no subtitle is held out."""
    return np.empty(0, int), list(prepared.annotated)


def no_queries(prepared: Prepared) -> tuple[np.ndarray, list[Asked]]:
    """Chooses no queries."""
    del prepared
    return np.empty(0, int), []
