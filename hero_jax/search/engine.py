"""Builds an index with a model, and searches one: the best moments of all videos for a sentence.

The search is exact: all clips are scored (`hero_jax.retrieval.scan`), and moments are ranked in the
best of each query.
"""

import dataclasses
import functools
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence

import jax
import numpy as np

from data.arguments import instance, user_path, whole
from data.arguments import texts as strings
from data.errors import InputError
from data.schema import Clip
from data.times import temporal_iou
from hero_jax.index import Entry, Index, IndexedClip, Line, Writer, create
from hero_jax.inference.model import Model
from hero_jax.inference.windows import clip_of_window
from hero_jax.retrieval import exact
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.retrieval.results import Moments
from hero_jax.retrieval.scan import BLOCK_BYTES, QUERY_BLOCKS, best_clips, padded

# If two moments of one video overlap by more, only the better is returned. It stands in for the
# `nms_iou` of a model that has none.
LARGEST_OVERLAP = 0.5
MODEL_SOURCE = "`hero_jax.inference.load` returns it"


@dataclasses.dataclass(frozen=True)
class FoundMoment:
    """A moment of a video, and the subtitles in it.

    start, end: first and last second in the video.
    score: as in `hero_jax.retrieval.moments`; comparable within a query only.
    """

    video_id: str
    clip_id: str
    start: float
    end: float
    score: float
    lines: tuple[Line, ...]


def build_index(
    model: Model, clips: Iterable[Clip], path: str | os.PathLike, dtype: str | None = None
) -> Index:
    """Makes a new index of clips.

    Args:
      clips: as `model.clip` and `model.records` give them.
      path: folder of the index.
      dtype: one of `hero_jax.index.DTYPES`; None for bfloat16 if the model computes in it, and for
        float16 otherwise.

    Raises:
      InputError: the folder is not empty, or a clip cannot be encoded.
    """
    create_index(model, path, dtype)
    try:
        add_clips(model, clips, path)
    except BaseException:
        # An empty index would be in the way of the next attempt.
        shutil.rmtree(user_path(path), ignore_errors=True)
        raise
    return Index(path)


def create_index(model: Model, path: str | os.PathLike, dtype: str | None = None) -> None:
    """Makes an index without clips for a model; see `build_index`."""
    instance(model, "model", Model, MODEL_SOURCE)
    if dtype is None:
        bfloat16 = model.exported.description["model"]["dtype"] == "bfloat16"
        dtype = "bfloat16" if bfloat16 else "float16"
    create(
        path,
        width=model.width,
        dtype=dtype,
        max_frames=model.exported.batch()["max_frames"],
        seconds_per_feature=model.features.seconds_per_feature,
        model=model.identity,
    )


def add_clips(model: Model, clips: Iterable[Clip], path: str | os.PathLike) -> tuple[int, int]:
    """Adds clips to an index, or replaces those that it has; see `Writer.add`.

    Returns:
      The numbers of entries that were added and replaced. A long clip has several, its windows.

    Raises:
      InputError: the index was made with another model; nothing is changed then.
    """
    instance(model, "model", Model, MODEL_SOURCE)
    check_model(model, Index(path))
    with Writer(path) as writer:
        return add_encoded(writer, model.encode_clips(clips))


def add_encoded(
    writer: Writer, encoded: Iterable[Entry], renamed: Collection[str] = ()
) -> tuple[int, int]:
    """Adds encoded clips to an index, in place of all windows that it has of clips of their names.

    Args:
      renamed: names of clips that these replace too.

    Returns:
      See `add_clips`.
    """
    names = set(renamed)

    def entries() -> Iterator[Entry]:
        for entry in encoded:
            names.add(clip_of_window(entry.clip_id))
            yield dataclasses.replace(entry, frames=np.asarray(entry.frames, np.float32))

    # A clip that was longer before has windows that are not replaced by name.
    return writer.add(entries(), outdated=lambda name: clip_of_window(name) in names)


def check_model(model: Model, index: Index) -> None:
    """Raises InputError if an index was made with another model."""
    instance(model, "model", Model, MODEL_SOURCE)
    instance(index, "index", Index, "`Index(path)` opens it")
    if index.model != model.identity:
        raise InputError(
            f"index {index.path} was made with another model ({index.model['identity'][:12]}, and "
            f"this one is {model.identity['identity'][:12]}): search it with that model, or build "
            "it again"
        )


def search(
    model: Model, index: Index, texts: Sequence[str], *, top: int = 10
) -> list[list[FoundMoment]]:
    """Finds the best moments for each sentence, best first.

    Args:
      top: largest number of moments for a sentence; there may be fewer.

    Raises:
      InputError: the index was made with another model, or a sentence is empty.
    """
    check_model(model, index)
    sentences = strings(texts, "texts")
    if whole(top, "top") < 1:
        raise InputError(f"top={top} is too small: ask for at least one moment")
    queries = model.encode_queries(sentences)
    if not len(index):
        return [[] for _ in sentences]
    results: list[list[FoundMoment]] = []
    for first in range(0, len(queries), QUERY_BLOCKS[-1]):
        block = queries[first : first + QUERY_BLOCKS[-1]]
        results += _search_block(model, index, block, top)
    return results


def _search_block(
    model: Model, index: Index, queries: np.ndarray, top: int
) -> list[list[FoundMoment]]:
    settings = _settings(model)
    scores, clips = best_clips(index, queries, min(settings.top_clips, len(index)))
    moments = _best_moments(model, index, queries, scores, clips, settings)
    counts = moments.counts
    rows = (Moments(*(x[n, :count] for x in moments)) for n, count in enumerate(counts))
    return [_found_moments(index, row, settings.nms_iou, top) for row in rows]


def _settings(model: Model) -> RankingSettings:
    """Returns the model's settings, with suppression of overlapping moments in any case.

    Suppression sees all that was ranked: its limit makes evaluations comparable.
    """
    settings = model.exported.ranking
    return dataclasses.replace(
        settings,
        nms_iou=settings.nms_iou or LARGEST_OVERLAP,
        nms_candidates=settings.max_predictions,
    )


def _best_moments(
    model: Model,
    index: Index,
    queries: np.ndarray,
    scores: np.ndarray,
    clips: np.ndarray,
    settings: RankingSettings,
) -> Moments:
    """Ranks moments in the best clips of queries; returns them after suppression, on the host."""
    query_bytes = clips.shape[1] * index.max_frames * index.width * 4
    size = max(size for size in QUERY_BLOCKS if size == 1 or size * query_bytes <= BLOCK_BYTES)

    def moments(model, queries, scores, clips, frames, num_frames):
        frames = frames.astype(model.temporal.dtype)
        logits = exact.span_logits(model.span_head, queries[:, None], frames, num_frames)
        _, suppressed = exact.best_moments(scores, clips, num_frames, logits, settings)
        return suppressed

    lengths, parts = index.num_frames(), []
    for first in range(0, len(queries), size):
        rows = [padded(x[first : first + size], (size,)) for x in (queries, scores, clips)]
        numbers = np.maximum(rows[2], 0)
        frames = index.frames(numbers.reshape(-1))
        frames = frames.reshape(*numbers.shape, *frames.shape[1:])
        num_frames = np.where(rows[2] >= 0, lengths[numbers], 0)
        # The score of a missing clip may be infinite.
        rows[1] = np.where(rows[2] >= 0, rows[1], 0)
        parts.append(model.run("moments", moments, *rows, frames, num_frames))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(queries)], *parts)


def _found_moments(
    index: Index, moments: Moments, largest_overlap: float, top: int
) -> list[FoundMoment]:
    """Describes the `top` best moments of a query, without duplicates.

    Windows of a long video overlap, so that two clips may have the same moment; of two that overlap
    by more than `largest_overlap`, only the better is returned.

    Args:
      moments: `[P]`, best first.
    """
    describe = functools.cache(index.describe)
    found: list[FoundMoment] = []
    for number, (first, last), score in zip(*(x.tolist() for x in moments), strict=True):
        if len(found) == top:
            break
        moment = _found_moment(index, describe(number), first, last, score)
        if not any(_duplicates(moment, better, largest_overlap) for better in found):
            found.append(moment)
    return found


def _found_moment(
    index: Index, clip: IndexedClip, first: int, last: int, score: float
) -> FoundMoment:
    """Describes the moment from frame `first` to `last` of a clip."""
    step = index.seconds_per_feature
    start, end = clip.start + first * step, clip.start + (last + 1) * step
    lines = tuple(line for line in clip.lines if line.start < end and line.end > start)
    return FoundMoment(clip.video_id, clip.clip_id, start, end, score, lines)


def _duplicates(moment: FoundMoment, better: FoundMoment, largest_overlap: float) -> bool:
    """Checks if a moment is another window's view of a better one."""
    if moment.video_id != better.video_id or moment.clip_id == better.clip_id:
        return False
    times = np.array([better.start, better.end]), np.array([moment.start, moment.end])
    return bool(temporal_iou(*times) > largest_overlap)
