"""Ranks the clips of a corpus, and moments in them, for queries.

Clips are encoded once and stay on the devices, split over the mesh's data shards. Queries come in
blocks. Each device scores its own clips, a block of them at a time, and keeps the best; the best of
all devices are merged. Span logits are made of these clips alone, and of spans only those of a
width that is allowed. So memory depends on the corpus and on the sizes of blocks, never on queries
times clips. Blocks, and with them every sum, are the same however many devices there are, and so is
the result. Equal scores are in order of clips, then of spans.

The scores are the original's (HERO, Li et al., EMNLP 2020, and its evaluation of
TVR): a moment from frame s to e of a clip has `exp(temperature · clip score) · p_start[s] ·
p_end[e]`, probabilities over the frames of the clip; within a query's own clip the first factor is
left out.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from hero_jax.models.heads import OUTSIDE, clip_scores
from hero_jax.retrieval.moments import RankingSettings, rank_moments, suppress
from hero_jax.retrieval.results import Ranking
from hero_jax.sharding import BATCH_AXES, batch_sharding, replicated

# Clips and queries that are scored against each other at once.
CLIP_BLOCK = 250
QUERY_BLOCK = 256
# Queries whose spans are ranked at once.
SPAN_BLOCK = 8
# Queries and clips whose frames are looked up at once. A CPU gathers more slowly than it loops; on
# others, 8 queries with 100 clips of 60 frames and width 768 take 74 MB in bfloat16.
LOOKUP_BLOCK = (8, 128)
LOOKUP_BLOCK_CPU = (1, 1)


class Corpus:
    """Encoded clips on the devices, split over the mesh's data shards.

    Clips without frames fill up the last blocks; they are never predicted.
    """

    def __init__(self, frames, num_frames, mesh: Mesh, *, block: int = CLIP_BLOCK):
        """Places the clips; every process has them all on its host.

        Args:
          frames: NumPy `[C, F, H]`, float32 or bfloat16.
          num_frames: NumPy `[C]`.
          block: clips scored at once.
        """
        self.size = len(frames)
        self.mesh = mesh
        self.block = min(block, self.size)
        unit = self.block * mesh.shape["data"] * mesh.shape["fsdp"]
        padded = -(-self.size // unit) * unit
        self.frames = _place(_as_bits(frames), padded, batch_sharding(mesh))
        self.num_frames = _place(num_frames.astype(np.int32), padded, replicated(mesh))


def _place(array, size, sharding):
    """A global array of `size` rows, zeros beyond those of `array`."""

    def part(index):
        start, stop, _ = index[0].indices(size)
        rows = array[start:stop]
        missing = stop - start - len(rows)
        return np.pad(rows, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else rows

    return jax.make_array_from_callback((size, *array.shape[1:]), sharding, part)


def rank(span_head, queries, corpus: Corpus, settings: RankingSettings, own_clip=None) -> Ranking:
    """The best clips and moments of all queries, on the host; the same in every process.

    Args:
      span_head: `hero_jax.models.heads.SpanHead`.
      queries: NumPy `[N, H]`, one vector per query.
      own_clip: NumPy `[N]`, places in the corpus of the clips that queries are about, -1 where not
        known; None if none is.
    """
    graphdef, state = nnx.split(span_head)
    own_clip = np.full(len(queries), -1) if own_clip is None else own_clip
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
    return _in_blocks(run, queries, own_clip.astype(np.int32))


def rank_clips(queries, corpus: Corpus, *, top_clips: int, temperature: float) -> Ranking:
    """The best clips alone: `rank` without moments."""
    run = functools.partial(
        _rank_clips_block,
        corpus.frames,
        corpus.num_frames,
        mesh=corpus.mesh,
        temperature=temperature,
        top_clips=min(top_clips, corpus.size),
        clip_block=corpus.block,
    )
    return _in_blocks(run, queries)


def _in_blocks(run, *arrays):
    """run() over blocks of the arrays' rows, its results joined on the host."""
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
    state,
    frames,
    num_frames,
    queries,
    own_clip,
    *,
    graphdef,
    mesh,
    settings,
    top_clips,
    clip_block,
):
    def on_device(state, frames, num_frames, queries, own_clip):
        scores, clips = _best_clips(queries, frames, num_frames, top_clips, clip_block)
        vr = _clip_ranking(scores, clips, settings.temperature)
        queries, scores, clips, own_clip = (
            _pad_rows(x, mesh) for x in (queries, scores, clips, own_clip)
        )
        clips = jnp.concatenate([clips, own_clip[:, None]], axis=1)
        span_head = nnx.merge(graphdef, state)
        logits = _span_logits(span_head, queries, clips, frames, num_frames, mesh)
        # Each device ranks the spans of its share of the queries.
        logits = jax.lax.psum_scatter(logits, BATCH_AXES, tiled=True)
        scores, clips = (_own_rows(x, len(logits)) for x in (scores, clips))
        moments = _rank_spans(scores, clips, logits, num_frames, settings)
        moments = jax.tree.map(lambda x: jax.lax.all_gather(x, BATCH_AXES, tiled=True), moments)
        return vr, jax.tree.map(lambda x: x[: len(vr[0])], moments)

    vr, moments = _over_mesh(on_device, mesh, 1)(state, frames, num_frames, queries, own_clip)
    return Ranking(*vr, *moments)


@functools.partial(jax.jit, static_argnames=("mesh", "temperature", "top_clips", "clip_block"))
def _rank_clips_block(frames, num_frames, queries, *, mesh, temperature, top_clips, clip_block):
    def on_device(frames, num_frames, queries):
        scores, clips = _best_clips(queries, frames, num_frames, top_clips, clip_block)
        return _clip_ranking(scores, clips, temperature)

    return Ranking(*_over_mesh(on_device, mesh, 0)(frames, num_frames, queries))


def _over_mesh(function, mesh, split):
    """function() on every device, argument `split` its own part and the others whole."""

    def run(*arguments):
        specs = tuple(P(BATCH_AXES) if n == split else P() for n in range(len(arguments)))
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)(
            *arguments
        )

    return run


def _best_clips(queries, frames, num_frames, count, block):
    """Scores and numbers `[N, count]` of the best clips of all devices.

    Args:
      queries: `[N, H]`; frames: `[own C, F, H]`; num_frames: `[C]`.
    """
    own = len(frames)
    first = _first_row(own)
    lengths = jax.lax.dynamic_slice_in_dim(num_frames, first, own)
    numbers = first + jnp.arange(own)

    def merge(best, part):
        frames, lengths, numbers = part
        valid = jnp.arange(frames.shape[1]) < lengths[:, None]
        scores = clip_scores(queries, _from_bits(frames), valid)
        return better_of(best, (scores, jnp.broadcast_to(numbers, scores.shape)), count), None

    nothing = (
        jnp.full((len(queries), count), -jnp.inf),
        jnp.full((len(queries), count), -1),
    )
    parts = (x.reshape(-1, block, *x.shape[1:]) for x in (frames, lengths, numbers))
    best, _ = jax.lax.scan(merge, nothing, tuple(parts))
    scores, clips = (jax.lax.all_gather(x, BATCH_AXES, axis=1, tiled=True) for x in best)
    return _top((scores, clips), count)


def better_of(first, second, count):
    """The best of two lists of (scores, clips); of equals, those of the first come first."""
    both = (jnp.concatenate(pair, axis=1) for pair in zip(first, second, strict=True))
    return _top(tuple(both), count)


def _top(candidates, count):
    scores, clips = candidates
    scores, places = jax.lax.top_k(scores, count)
    return scores, jnp.take_along_axis(clips, places, axis=1)


def _clip_ranking(scores, clips, temperature):
    """Clips and their scores as they are predicted; -1 and 0 for clips without frames."""
    valid = scores > OUTSIDE
    return jnp.where(valid, clips, -1), jnp.where(valid, jnp.exp(temperature * scores), 0)


def _span_logits(span_head, queries, clips, frames, num_frames, mesh):
    """Start and end logits `[N, V, 2, F]` of clips that are on this device, 0 for others.

    Args:
      queries: `[N, H]`; clips: `[N, V]`; frames: `[own C, F, H]`; num_frames: `[C]`.
    """
    place = clips - _first_row(len(frames))
    here = (place >= 0) & (place < len(frames))
    place = jnp.clip(place, 0, len(frames) - 1)
    lengths = num_frames[clips]
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    queries_at_once, clips_at_once = LOOKUP_BLOCK_CPU if on_cpu else LOOKUP_BLOCK

    def of_query(part):
        query, places, lengths = part

        def of_clip(part):
            place, length = part
            valid = jnp.arange(frames.shape[1]) < length
            return jnp.stack(span_head(query, _from_bits(frames[place]), valid))

        return jax.lax.map(of_clip, (places, lengths), batch_size=clips_at_once)

    logits = jax.lax.map(of_query, (queries, place, lengths), batch_size=queries_at_once)
    return jnp.where(here[..., None, None], logits, 0)


def _as_bits(frames):
    """bfloat16 as the integers that it is stored in; see `_from_bits`."""
    return frames.view(np.uint16) if frames.dtype == jnp.bfloat16 else frames


def _from_bits(frames):
    """Some of the corpus' frames as numbers.

    A CPU computes with bfloat16 as float32. Given an array of it, the compiler would convert the
    whole corpus first, once for all, in memory that there is not.
    """
    is_bits = frames.dtype == jnp.uint16
    return jax.lax.bitcast_convert_type(frames, jnp.bfloat16) if is_bits else frames


def _rank_spans(scores, clips, logits, num_frames, settings):
    """VCMR and SVMR, before and after suppression.

    Args:
      scores: `[N, V]`; clips: `[N, V + 1]`, the last the query's own; logits: `[N, V + 1, 2, F]`.
    """
    lengths = jnp.where(clips >= 0, num_frames[clips], 0)

    def find(part):
        scores, clips, lengths, logits = part
        start, end = logits[:, :, 0], logits[:, :, 1]
        best, own = slice(None, -1), slice(-1, None)
        vcmr = rank_moments(
            scores, start[:, best], end[:, best], lengths[:, best], settings, clips[:, best]
        )
        svmr = rank_moments(
            jnp.zeros((len(scores), 1)),
            start[:, own],
            end[:, own],
            lengths[:, own],
            settings,
            clips[:, own],
        )
        return vcmr, svmr

    # Whole blocks, whatever the number of devices.
    blocks = jax.tree.map(
        lambda x: x.reshape(-1, SPAN_BLOCK, *x.shape[1:]), (scores, clips, lengths, logits)
    )
    vcmr, svmr = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.lax.map(find, blocks))
    if not settings.nms_iou:
        return vcmr, svmr
    return vcmr, svmr, suppress(vcmr, settings), suppress(svmr, settings)


def _first_row(rows):
    """The number of this device's first row, of arrays that have `rows` on every device."""
    return jax.lax.axis_index(BATCH_AXES) * rows


def _own_rows(x, rows):
    """This device's share of what every device has whole."""
    return jax.lax.dynamic_slice_in_dim(x, _first_row(rows), rows)


def _pad_rows(x, mesh):
    """Rows up to a number that divides into whole blocks on every device."""
    unit = mesh.shape["data"] * mesh.shape["fsdp"] * SPAN_BLOCK
    return jnp.pad(x, [(0, -len(x) % unit)] + [(0, 0)] * (x.ndim - 1))
