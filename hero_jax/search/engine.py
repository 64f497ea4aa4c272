"""Builds an index with a model, and searches one: the best moments of all videos for a sentence.

The search is exact. Clips come from the disk in blocks, which are split over the devices; only the
best clips of each query are kept, and spans are looked for in these alone. So memory depends on the
size of a block, never on the number of clips. The formulas are those of `hero_jax.retrieval`.
"""

import dataclasses
import functools
import shutil
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from data.errors import InputError
from data.times import temporal_iou
from hero_jax.index.entries import Line
from hero_jax.index.index import Index, Writer, create
from hero_jax.inference.windows import clip_of_window
from hero_jax.models.heads import NORM_FLOOR, OUTSIDE, normalize
from hero_jax.retrieval.moments import rank_moments, suppress
from hero_jax.retrieval.ranking import better_of

# Of the frames that are scored at once, and of those that spans are looked for in.
BLOCK_BYTES = 64 << 20
# Queries that are scored at once: few for few, since every number is compiled once.
QUERY_BLOCKS = (1, 2, 4, 8, 64, 256)
# So few are multiplied with the frames one by one.
FEW_QUERIES = 8
# Of two moments of one video that overlap by more, the better is shown, unless the model says.
LARGEST_OVERLAP = 0.5


@dataclasses.dataclass(frozen=True)
class FoundMoment:
    """A moment: first and last second of the video, and the subtitles there.

    score: as in `hero_jax.retrieval.moments`; to be compared within a query.
    """

    video_id: str
    clip_id: str
    start: float
    end: float
    score: float
    lines: tuple[Line, ...]


def build_index(model, clips: Iterable, path, dtype: str | None = None) -> Index:
    """A new index of clips.

    Args:
      model: `hero_jax.inference.model.Model`.
      clips: `data.schema.Clip`, as `model.clip` and `model.records` give them.
      dtype: of `hero_jax.index.DTYPES`; None: bfloat16 for a model that computes in it, else
        float16.

    Raises:
      InputError: there is something at that path, or a clip cannot be encoded.
    """
    own = model.exported.description["model"]["dtype"]
    create(
        path,
        width=model.width,
        dtype=dtype or ("bfloat16" if own == "bfloat16" else "float16"),
        max_frames=model.exported.batch()["max_frames"],
        seconds_per_feature=model.features.seconds_per_feature,
        model=model.identity,
    )
    try:
        add_clips(model, clips, path)
    except BaseException:
        # An empty index would be in the way of the next try.
        shutil.rmtree(path, ignore_errors=True)
        raise
    return Index(path)


def add_clips(model, clips: Iterable, path) -> tuple[int, int]:
    """Adds clips to an index, or replaces those that are there; see `Writer.add`.

    Returns:
      How many entries were added and how many replaced; a long clip has several, its windows.

    Raises:
      InputError: the index was made with another model; nothing is changed then.
    """
    check_model(model, Index(path))
    names = set()

    def entries():
        for entry in model.encode_clips(clips):
            names.add(clip_of_window(entry.clip_id))
            yield dataclasses.replace(entry, frames=np.asarray(entry.frames, np.float32))

    with Writer(path) as writer:
        # A clip that was longer before leaves windows behind.
        return writer.add(entries(), outdated=lambda name: clip_of_window(name) in names)


def check_model(model, index: Index) -> None:
    """InputError if an index was made with another model."""
    if index.model != model.identity:
        raise InputError(
            f"index {index.path} was made with another model ({index.model['identity'][:12]}, and "
            f"this is {model.identity['identity'][:12]}): search it with that, or build it again."
        )


def search(model, index: Index, texts: Sequence[str], *, top: int = 10) -> list[list[FoundMoment]]:
    """The best moments for each sentence, best first.

    Args:
      model: `hero_jax.inference.model.Model`.
      top: of a query, at most so many; there may be fewer.

    Raises:
      InputError: the index was made with another model; an empty sentence.
    """
    check_model(model, index)
    if top < 1:
        raise InputError(f"top={top}: ask for at least one moment.")
    queries = model.encode_queries(texts)
    if not len(index):
        return [[] for _ in texts]
    results: list[list[FoundMoment]] = []
    for first in range(0, len(queries), QUERY_BLOCKS[-1]):
        some = queries[first : first + QUERY_BLOCKS[-1]]
        results += _search_block(model, index, some, top)
    return results


def _search_block(model, index, queries, top):
    settings = _settings(model)
    scores, clips = best_clips(index, queries, min(settings.top_clips, len(index)))
    moments = _best_moments(model, index, queries, scores, clips, settings)
    return [
        _deduplicated(index, *(x[n, : moments.counts[n]] for x in moments[:3]), settings, top)
        for n in range(len(queries))
    ]


def _settings(model):
    """How the model ranks, and always without what overlaps something better."""
    own = model.exported.ranking
    return own if own.nms_iou else dataclasses.replace(own, nms_iou=LARGEST_OVERLAP)


def best_clips(index: Index, queries: np.ndarray, count: int, block_bytes: int = BLOCK_BYTES):
    """Scores and numbers `[N, count]` of the best clips, of equals the first; -1 for none.

    Args:
      queries: `[N, width]`.
      block_bytes: of the clips that are scored at once on all devices.
    """
    mesh = Mesh(np.array(jax.devices()), ("data",))
    rows, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    each = index.max_frames * index.width * index.dtype.itemsize
    block = max(block_bytes // each, 1)
    # No larger than the index, and whole on every device.
    block = -(-min(block, index.capacity) // mesh.size) * mesh.size
    padded = jax.device_put(_padded(queries), whole)
    best = (
        jnp.full((len(padded), count), -jnp.inf, device=whole),
        jnp.full((len(padded), count), -1, device=whole),
    )
    lengths = index.num_frames()
    for first in range(0, index.capacity, block):
        own = np.zeros(block, np.int32)
        own[: len(lengths) - first] = lengths[first : first + block]
        clips = jax.device_put((index.block(first, block), index.norms(first, block), own), rows)
        best = _score(best, padded, *clips, first, count=count)
    scores, clips = jax.device_get(best)
    scores, clips = scores[: len(queries)], clips[: len(queries)]
    return scores, np.where(scores > OUTSIDE, clips, -1)


@functools.partial(jax.jit, static_argnames="count", donate_argnums=0)
def _score(best, queries, frames, norms, num_frames, first, *, count):
    """`hero_jax.models.heads.clip_scores` in one pass over the frames, whose norms are known."""
    clips, length, width = frames.shape
    frames, queries = frames.reshape(-1, width), normalize(queries)
    # On a CPU, XLA multiplies one query with frames in half precision, but for more it makes a copy
    # in float32 first, which takes longer than several products without.
    apart = len(queries) if len(queries) <= FEW_QUERIES else 1
    products = [some @ frames.astype(jnp.float32).T for some in jnp.split(queries, apart)]
    products = jnp.concatenate(products).reshape(-1, clips, length)
    valid = jnp.arange(length) < num_frames[:, None]
    cosine = jnp.where(valid, products / jnp.maximum(norms, NORM_FLOOR), OUTSIDE)
    scores = cosine.max(axis=-1)
    numbers = jnp.broadcast_to(first + jnp.arange(clips), scores.shape)
    return better_of(best, (scores, numbers), count)


def _best_moments(model, index, queries, scores, clips, settings):
    """`hero_jax.retrieval.results.Moments` of queries, after suppression, on the host."""
    each = clips.shape[1] * index.max_frames * index.width * 4
    size = max(size for size in QUERY_BLOCKS if size == 1 or size * each <= BLOCK_BYTES)

    def moments(model, queries, scores, clips, frames, num_frames):
        valid = jnp.arange(frames.shape[2]) < num_frames[..., None]
        frames = frames.astype(model.temporal.dtype)
        start, end = model.span_head(queries[:, None], frames, valid)
        found = rank_moments(scores, start, end, num_frames, settings, clips)
        return suppress(found, settings)

    lengths, parts = index.num_frames(), []
    for first in range(0, len(queries), size):
        rows = [_padded(x[first : first + size], (size,)) for x in (queries, scores, clips)]
        numbers = np.maximum(rows[2], 0)
        frames = index.frames(numbers.reshape(-1))
        frames = frames.reshape(*numbers.shape, *frames.shape[1:])
        num_frames = np.where(rows[2] >= 0, np.asarray(lengths)[numbers], 0)
        # What is not there has no finite score.
        rows[1] = np.where(rows[2] >= 0, rows[1], 0)
        parts.append(model.run("moments", moments, *rows, frames, num_frames))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(queries)], *parts)


def _deduplicated(index, clips, spans, scores, settings, top):
    """`FoundMoment` of a query's moments, of those that windows of a video share the best alone."""
    step, found, described = index.seconds_per_feature, [], {}
    for number, (first, last), score in zip(
        clips.tolist(), spans.tolist(), scores.tolist(), strict=True
    ):
        if len(found) == top:
            break
        clip = described.setdefault(number, None) or index.describe(number)
        described[number] = clip
        start, end = clip.start + first * step, clip.start + (last + 1) * step
        if any(
            other.video_id == clip.video_id
            and other.clip_id != clip.clip_id
            and temporal_iou(np.array([other.start, other.end]), np.array([start, end]))
            > settings.nms_iou
            for other in found
        ):
            continue
        lines = tuple(line for line in clip.lines if line.start < end and line.end > start)
        found.append(FoundMoment(clip.video_id, clip.clip_id, start, end, score, lines))
    return found


def _padded(array, sizes=QUERY_BLOCKS):
    """The array with rows of zeros up to the next of some numbers."""
    size = next(size for size in sizes if size >= len(array))
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1))
