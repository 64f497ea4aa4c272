"""Ranking of the clips of a corpus in memory, and of moments in them.

Clips are encoded once and stay on the devices, split over the mesh's data shards. Queries come in
blocks. Each device scores its own clips, block by block, and keeps the best; the best of all
devices are merged, and moments are ranked in those clips alone (`hero_jax.retrieval.exact`).
Blocks, and with them every sum, are the same for any number of devices, and so is the result.

Within a query's target clip, the clip's score is left out of the score of a moment.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from hero_jax.models.heads import OUTSIDE, SpanHead
from hero_jax.retrieval import exact
from hero_jax.retrieval.exact import SPAN_BLOCK, BestClips, ClipBlock, as_bits, from_bits
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.retrieval.results import Array, Moments, Ranking
from hero_jax.sharding import BATCH_AXES, batch_sharding, replicated

# Clips and queries that are scored against each other at once.
CLIP_BLOCK = 250
QUERY_BLOCK = 256
# Queries and clips whose frames are looked up at once. A CPU gathers more slowly than it loops; on
# other devices, 8 queries with 100 clips of 60 frames and width 768 take 74 MB in bfloat16.
LOOKUP_BLOCK = (8, 128)
LOOKUP_BLOCK_CPU = (1, 1)


class Corpus:
    """Encoded clips on the devices, split over the mesh's data shards.

    Clips without frames pad the last blocks; they are never predicted.

    Attributes:
      size: number of clips.
      mesh: the devices.
      block: number of clips that are scored at once.
      frames: `[padded size, F, H]`; bfloat16 as the bits in uint16.
      num_frames: `[padded size]` int32.
    """

    def __init__(
        self, frames: np.ndarray, num_frames: np.ndarray, mesh: Mesh, *, block: int = CLIP_BLOCK
    ):
        """Places the clips; every process passes all of them.

        Args:
          frames: `[C, F, H]`, float32 or bfloat16.
          num_frames: `[C]`.
          block: number of clips that are scored at once.
        """
        self.size = len(frames)
        self.mesh = mesh
        self.block = min(block, self.size)
        unit = self.block * mesh.shape["data"] * mesh.shape["fsdp"]
        padded = -(-self.size // unit) * unit
        self.frames = _place(as_bits(frames), padded, batch_sharding(mesh))
        self.num_frames = _place(num_frames.astype(np.int32), padded, replicated(mesh))


def _place(array: np.ndarray, size: int, sharding: NamedSharding) -> jax.Array:
    """Makes a global array of `size` rows, zeros beyond those of `array`."""

    def part(index):
        start, stop, _ = index[0].indices(size)
        rows = array[start:stop]
        missing = stop - start - len(rows)
        return np.pad(rows, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else rows

    return jax.make_array_from_callback((size, *array.shape[1:]), sharding, part)


def rank(
    span_head: SpanHead,
    queries: np.ndarray,
    corpus: Corpus,
    settings: RankingSettings,
    target_clips: np.ndarray | None = None,
) -> Ranking:
    """Ranks clips and moments for all queries; the result is the same in every process.

    Args:
      queries: `[N, H]`, one vector per query.
      target_clips: `[N]`, places in the corpus of the clips that queries are about, -1 for an
        unknown one; None if all are unknown.

    Returns:
      `Ranking` on the host.
    """
    graphdef, state = nnx.split(span_head)
    targets = np.full(len(queries), -1) if target_clips is None else target_clips
    run = functools.partial(
        _rank_block,
        state,
        corpus.frames,
        corpus.num_frames,
        graphdef=graphdef,
        mesh=corpus.mesh,
        settings=settings,
        top_clips=min(settings.top_clips, corpus.size),
        clip_block=corpus.block,
    )
    return in_blocks(run, queries, targets.astype(np.int32))


def rank_clips(
    queries: np.ndarray, corpus: Corpus, *, top_clips: int, temperature: float
) -> Ranking:
    """Ranks clips only, as `rank` does with moments."""
    run = functools.partial(
        _rank_clips_block,
        corpus.frames,
        corpus.num_frames,
        mesh=corpus.mesh,
        temperature=temperature,
        top_clips=min(top_clips, corpus.size),
        clip_block=corpus.block,
    )
    return in_blocks(run, queries)


def in_blocks(run: Callable[..., Ranking], *arrays: np.ndarray) -> Ranking:
    """Calls run() on blocks of the arrays' rows and joins the results on the host."""
    total = len(arrays[0])
    size = min(QUERY_BLOCK, max(total, 1))
    parts = []
    for first in range(0, max(total, 1), size):
        rows = [array[first : first + size] for array in arrays]
        rows = [np.pad(x, [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in rows]
        parts.append(jax.device_get(run(*rows)))
    return jax.tree.map(lambda *x: np.concatenate(x)[:total], *parts)


@functools.partial(
    jax.jit, static_argnames=("graphdef", "mesh", "settings", "top_clips", "clip_block")
)
def _rank_block(
    state: nnx.State,
    frames: jax.Array,
    num_frames: jax.Array,
    queries: jax.Array,
    target_clips: jax.Array,
    *,
    graphdef: nnx.GraphDef,
    mesh: Mesh,
    settings: RankingSettings,
    top_clips: int,
    clip_block: int,
) -> Ranking:
    def on_device(state, frames, num_frames, queries, targets):
        best = _best_clips(queries, frames, num_frames, top_clips, clip_block)
        clip_ranking = ranking_of_clips(best, settings.temperature)
        count = len(queries)
        queries, scores, clips, targets = (
            _pad_rows(x, mesh) for x in (queries, *best, targets[:, None])
        )
        clips = jnp.concatenate([clips, targets], axis=1)
        span_head = nnx.merge(graphdef, state)
        logits = _span_logits(span_head, queries, clips, frames, num_frames, mesh)
        # Each device ranks the spans of its share of the queries.
        logits = jax.lax.psum_scatter(logits, BATCH_AXES, tiled=True)
        scores, clips = (_share_of(x, len(logits)) for x in (scores, clips))
        moments = rank_spans(scores, clips, logits, num_frames, settings)
        moments = jax.tree.map(lambda x: jax.lax.all_gather(x, BATCH_AXES, tiled=True), moments)
        return clip_ranking, jax.tree.map(lambda x: x[:count], moments)

    clip_ranking, moments = _over_mesh(on_device, mesh, 1)(
        state, frames, num_frames, queries, target_clips
    )
    return Ranking(*clip_ranking, *moments)


@functools.partial(jax.jit, static_argnames=("mesh", "temperature", "top_clips", "clip_block"))
def _rank_clips_block(
    frames: jax.Array,
    num_frames: jax.Array,
    queries: jax.Array,
    *,
    mesh: Mesh,
    temperature: float,
    top_clips: int,
    clip_block: int,
) -> Ranking:
    def on_device(frames, num_frames, queries):
        best = _best_clips(queries, frames, num_frames, top_clips, clip_block)
        return ranking_of_clips(best, temperature)

    return Ranking(*_over_mesh(on_device, mesh, 0)(frames, num_frames, queries))


def _over_mesh(function: Callable, mesh: Mesh, split: int) -> Callable[..., Any]:
    """Returns function() on every device, with argument `split` split and the others whole."""

    def run(*arguments):
        specs = tuple(P(BATCH_AXES) if n == split else P() for n in range(len(arguments)))
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)(
            *arguments
        )

    return run


def _best_clips(
    queries: jax.Array, frames: jax.Array, num_frames: jax.Array, count: int, block: int
) -> BestClips:
    """Returns the `count` best clips of all devices.

    Args:
      queries: `[N, H]`.
      frames: `[clips of this device, F, H]`.
      num_frames: `[C]` of all clips.
    """
    first = _first_row(len(frames))
    lengths = jax.lax.dynamic_slice_in_dim(num_frames, first, len(frames))

    def merge(best, part):
        frames, lengths, first = part
        return exact.merge_block(best, queries, ClipBlock(from_bits(frames), lengths, first)), None

    parts = (
        frames.reshape(-1, block, *frames.shape[1:]),
        lengths.reshape(-1, block),
        first + jnp.arange(0, len(frames), block),
    )
    best, _ = jax.lax.scan(merge, exact.no_clips(len(queries), count), parts)
    best = jax.tree.map(lambda x: jax.lax.all_gather(x, BATCH_AXES, axis=1, tiled=True), best)
    return exact.best_of(best, count)


def ranking_of_clips(best: BestClips, temperature: float) -> tuple[jax.Array, jax.Array]:
    """Returns clips and scores as they are predicted; -1 and 0 for clips without frames."""
    valid = best.scores > OUTSIDE
    scores = jnp.where(valid, jnp.exp(temperature * best.scores), 0)
    return jnp.where(valid, best.clips, -1), scores


def _span_logits(
    span_head: SpanHead,
    queries: jax.Array,
    clips: jax.Array,
    frames: jax.Array,
    num_frames: jax.Array,
    mesh: Mesh,
) -> jax.Array:
    """Computes logits `[N, V, 2, F]` of the clips that are on this device, 0 for the others.

    Args:
      queries: `[N, H]`.
      clips: `[N, V]`.
      frames: `[clips of this device, F, H]`.
      num_frames: `[C]` of all clips.
    """
    place = clips - _first_row(len(frames))
    on_device = (place >= 0) & (place < len(frames))
    place = jnp.clip(place, 0, len(frames) - 1)
    lengths = num_frames[clips]
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    queries_at_once, clips_at_once = LOOKUP_BLOCK_CPU if on_cpu else LOOKUP_BLOCK

    def of_query(part):
        query, places, lengths = part

        def of_clip(part):
            place, length = part
            return exact.span_logits(span_head, query, from_bits(frames[place]), length)

        return jax.lax.map(of_clip, (places, lengths), batch_size=clips_at_once)

    logits = jax.lax.map(of_query, (queries, place, lengths), batch_size=queries_at_once)
    return jnp.where(on_device[..., None, None], logits, 0)


def rank_spans(
    scores: jax.Array,
    clips: jax.Array,
    logits: jax.Array,
    num_frames: jax.Array,
    settings: RankingSettings,
) -> tuple[Moments | None, ...]:
    """Ranks moments in the corpus and in the target clip, in the order of the fields of `Ranking`.

    Args:
      scores: `[N, V]`.
      clips: `[N, V + 1]`, the last one the target clip.
      logits: `[N, V + 1, 2, F]`.
      num_frames: `[C]` of all clips.
    """
    lengths = jnp.where(clips >= 0, num_frames[clips], 0)
    corpus, target = slice(None, -1), slice(-1, None)
    vcmr, svmr = (
        exact.best_moments(
            clip_scores, clips[:, columns], lengths[:, columns], logits[:, columns], settings
        )
        for clip_scores, columns in ((scores, corpus), (jnp.zeros((len(scores), 1)), target))
    )
    return vcmr[0], svmr[0], vcmr[1], svmr[1]


def _first_row(rows: int) -> jax.Array:
    """Returns the number of this device's first row if each device has `rows` of them."""
    return jax.lax.axis_index(BATCH_AXES) * rows


def _share_of(x: jax.Array, rows: int) -> jax.Array:
    """Returns this device's `rows` of an array that every device holds entirely."""
    return jax.lax.dynamic_slice_in_dim(x, _first_row(rows), rows)


def _pad_rows(x: Array, mesh: Mesh) -> jax.Array:
    """Pads rows with zeros to a number that gives complete blocks on every device."""
    unit = mesh.shape["data"] * mesh.shape["fsdp"] * SPAN_BLOCK
    return jnp.pad(x, [(0, -len(x) % unit)] + [(0, 0)] * (x.ndim - 1))
