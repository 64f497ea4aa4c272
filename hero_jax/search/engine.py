"""Builds an index with a model, and searches one: the best moments of all videos for a sentence.

All clips are scored (`hero_jax.retrieval.scan`), or those that the index's store proposes, and
moments are ranked in the best of each query. With what is said in them they may be found too, see
`hero_jax.search.hybrid`.
"""

import dataclasses
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence

import jax
import numpy as np

from data.arguments import instance, number, user_path, whole
from data.arguments import texts as strings
from data.errors import InputError
from data.schema import Clip
from hero_jax.index import (
    Entry,
    Snapshot,
    StoreWriter,
    among,
    create,
    open_index,
    open_writer,
)
from hero_jax.inference.model import Model
from hero_jax.inference.windows import clip_of_window
from hero_jax.retrieval import exact
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.retrieval.results import Moments
from hero_jax.retrieval.scan import BLOCK_BYTES, QUERY_BLOCKS, best_clips, best_of, padded
from hero_jax.search import hybrid
from hero_jax.search.found import LARGEST_OVERLAP, FoundMoment, found_moments

# Clips that a store proposes for a query are scored exactly. It is asked for this many, or for so
# many times as many as are ranked, if that is more.
LEAST_CANDIDATES, CANDIDATES_PER_CLIP = 200, 2
MODEL_SOURCE = "`hero_jax.inference.load` returns it"


def build_index(
    model: Model,
    clips: Iterable[Clip],
    path: str | os.PathLike,
    dtype: str | None = None,
    store: str = "files",
) -> Snapshot:
    """Makes a new index of clips.

    Args:
      clips: as `model.clip` and `model.records` give them.
      path: folder of the index.
      dtype: one of `hero_jax.index.DTYPES`; None for bfloat16 if the model computes in it, and for
        float16 otherwise.
      store: one of `hero_jax.index.STORES`.

    Raises:
      InputError: the folder is not empty, or a clip cannot be encoded.
    """
    create_index(model, path, dtype, store)
    try:
        add_clips(model, clips, path)
    except BaseException:
        # An empty index would be in the way of the next attempt.
        shutil.rmtree(user_path(path), ignore_errors=True)
        raise
    return open_index(path)


def create_index(
    model: Model, path: str | os.PathLike, dtype: str | None = None, store: str = "files"
) -> None:
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
        store=store,
    )


def add_clips(model: Model, clips: Iterable[Clip], path: str | os.PathLike) -> tuple[int, int]:
    """Adds clips to an index, or replaces those that it has; see `Writer.add`.

    Returns:
      The numbers of entries that were added and replaced. A long clip has several, its windows.

    Raises:
      InputError: the index was made with another model; nothing is changed then.
    """
    instance(model, "model", Model, MODEL_SOURCE)
    check_model(model, open_index(path))
    with open_writer(path) as writer:
        return add_encoded(writer, model.encode_clips(clips))


def add_encoded(
    writer: StoreWriter, encoded: Iterable[Entry], renamed: Collection[str] = ()
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


def check_model(model: Model, index: Snapshot) -> None:
    """Raises InputError if an index was made with another model."""
    instance(model, "model", Model, MODEL_SOURCE)
    instance(index, "index", Snapshot, "`hero_jax.index.open_index` returns it")
    if index.model != model.identity:
        raise InputError(
            f"index {index.path} was made with another model ({index.model['identity'][:12]}, and "
            f"this one is {model.identity['identity'][:12]}): search it with that model, or build "
            "it again"
        )


def search(
    model: Model,
    index: Snapshot,
    texts: Sequence[str],
    *,
    top: int = 10,
    said: float = 0.0,
    videos: Iterable[str] | None = None,
    folder: str | None = None,
    exact: bool = False,
) -> list[list[FoundMoment]]:
    """Finds the best moments for each sentence, best first.

    Args:
      top: largest number of moments for a sentence; there may be fewer.
      said: weight of subtitles that have the sentence's words, from 0, by which the model alone
        finds, to 1, by which they alone do; see `hero_jax.search.hybrid`.
      videos: ids of the videos to search; None for all.
      folder: folder of the films to search, which is the beginning of their ids; None for all.
      exact: whether all clips are scored, also where the index proposes some.

    Raises:
      InputError: the index was made with another model, it has no such video or folder, a sentence
        is empty, or `said` is not from 0 to 1.
    """
    check_model(model, index)
    sentences = strings(texts, "texts")
    if whole(top, "top") < 1:
        raise InputError(f"top={top} is too small: ask for at least one moment")
    if not 0 <= (said := number(said, "said")) <= 1:
        raise InputError(f"said={said} is no weight: choose one from 0 to 1")
    instance(exact, "exact", bool, "True or False")
    queries = model.encode_queries(sentences)
    if not len(index):
        return [[] for _ in sentences]
    kept = among(index, videos=videos, folder=folder)
    return search_encoded(model, index, sentences, queries, top, said, kept, is_exact=exact)


def search_encoded(
    model: Model,
    index: Snapshot,
    texts: Sequence[str],
    queries: np.ndarray,
    top: int,
    said: float = 0.0,
    kept: np.ndarray | None = None,
    *,
    is_exact: bool = False,
) -> list[list[FoundMoment]]:
    """Finds the best moments for sentences that are encoded already; see `search`.

    Args:
      texts: read only if `said` is more than 0.
      queries: `[N, H]`, as `Model.encode_queries` gives them, or means of frames of the index.
      kept: see `among`.
    """
    if not len(index):
        return [[] for _ in queries]
    if not said:
        return _seen_moments(model, index, queries, top, kept, is_exact)
    depth = max(top, hybrid.DEPTH)
    seen: list[list[FoundMoment]] = [[] for _ in queries]
    if said < 1:
        seen = _seen_moments(model, index, queries, depth, kept, is_exact)
    spoken = [hybrid.spoken_moments(index, text, depth, among=kept) for text in texts]
    return [hybrid.fused(*pair, said)[:top] for pair in zip(seen, spoken, strict=True)]


def _seen_moments(
    model: Model,
    index: Snapshot,
    queries: np.ndarray,
    top: int,
    kept: np.ndarray | None,
    is_exact: bool,
) -> list[list[FoundMoment]]:
    """Finds the best moments for each query by the model; for `kept` see `among`."""
    settings, results = _settings(model), []
    count = min(settings.top_clips, len(index))
    for first in range(0, len(queries), QUERY_BLOCKS[-1]):
        block = queries[first : first + QUERY_BLOCKS[-1]]
        best = None if is_exact else _best_candidates(index, block, count, kept)
        scores, clips = best or best_clips(index, block, count, among=kept)
        moments = _best_moments(model, index, block, scores, clips, settings)
        counts = moments.counts
        rows = (Moments(*(x[n, :count] for x in moments)) for n, count in enumerate(counts))
        results += [found_moments(index, row, settings.nms_iou, top) for row in rows]
    return results


def _best_candidates(
    index: Snapshot, queries: np.ndarray, count: int, kept: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns `best_clips` of those that the store proposes; None if it proposes none."""
    rows, asked = [], max(CANDIDATES_PER_CLIP * count, LEAST_CANDIDATES)
    for query in queries:
        candidates = index.candidates(query, asked, among=kept)
        if candidates is None:
            return None
        rows.append(best_of(index, query, candidates, count))
    scores, clips = zip(*rows, strict=True)
    return np.stack(scores), np.stack(clips)


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
    index: Snapshot,
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
