"""Rankings of moments by what is seen (the model), by what is said (subtitles), and by both.

The rankings are joined by their ranks, as scores of the two have nothing in common: a moment gets
`weight / (60 + rank)` from each (reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009).
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from hero_jax.index import IndexedClip, Line, Snapshot
from hero_jax.index.words import words_of
from hero_jax.search.found import LARGEST_OVERLAP, FoundMoment, duplicates, moment_between

RANK_CONSTANT = 60
# Moments of each ranking that are joined, or as many as are asked for if that is more.
DEPTH = 100


def spoken_moments(
    index: Snapshot, text: str, count: int, *, among: np.ndarray | None = None
) -> list[FoundMoment]:
    """Finds where words of a text are said, best first.

    A moment is the line of a clip that has most of the words, rare ones first; its score is that of
    the clip, see `Snapshot.text_search`. Of windows that have the same line, the better one counts.

    Args:
      count: largest number of clips to look at.
    """
    scores, numbers = index.text_search(text, count, among=among)
    clips = index.clips(numbers)
    weights = _weights(words_of(text), [line.text for clip in clips for line in clip.lines])
    found: list[FoundMoment] = []
    for clip, score in zip(clips, scores.tolist(), strict=True):
        line = _best_line(clip, weights)
        end = max(line.end, line.start + index.seconds_per_feature)
        moment = moment_between(clip, line.start, end, score)
        if not any(duplicates(moment, better, LARGEST_OVERLAP) for better in found):
            found.append(moment)
    return found


def _weights(words: Iterable[str], lines: Sequence[str]) -> dict[str, float]:
    """Returns the weight of each word: the larger, the fewer of the lines have it."""
    frequencies = collections.Counter(set(words))
    for line in lines:
        frequencies.update(frequencies.keys() & set(words_of(line)))
    return {word: math.log(1 + len(lines) / count) for word, count in frequencies.items()}


def _best_line(clip: IndexedClip, weights: dict[str, float]) -> Line:
    """Returns the line whose words weigh most, of equal ones the first."""

    def weight(line: Line) -> float:
        there = set(words_of(line.text))
        return sum(value for word, value in weights.items() if word in there)

    return max(clip.lines, key=weight)


def fused(
    seen: Sequence[FoundMoment], spoken: Sequence[FoundMoment], said: float
) -> list[FoundMoment]:
    """Joins two rankings of moments.

    A spoken moment counts for the best seen one that it overlaps, whose borders then hold; without
    one it stands for itself.

    Args:
      seen, spoken: best first.
      said: weight of the spoken ones, 0 to 1; the others have the rest.

    Returns:
      The moments, best first, with the sums of their shares as scores.
    """
    moments = [
        dataclasses.replace(moment, score=(1 - said) / (RANK_CONSTANT + rank))
        for rank, moment in enumerate(seen, 1)
    ]
    free = dict(enumerate(seen))
    for rank, moment in enumerate(spoken, 1):
        share = said / (RANK_CONSTANT + rank)
        place = next((n for n, other in free.items() if _overlap(moment, other)), None)
        if place is None:
            moments.append(dataclasses.replace(moment, score=share))
        else:
            del free[place]
            moments[place] = dataclasses.replace(moments[place], score=moments[place].score + share)
    return sorted(moments, key=lambda moment: -moment.score)


def _overlap(first: FoundMoment, second: FoundMoment) -> bool:
    """Checks whether two moments share a time of one video."""
    is_at_once = first.start < second.end and second.start < first.end
    return first.video_id == second.video_id and is_at_once
