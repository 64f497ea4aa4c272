"""The scan of an index: the best clips of each query, with one read of the stored frames.

Clips come in blocks, which are split over the devices; only the best clips of each query are kept
(`hero_jax.retrieval.exact`). So memory depends on the size of a block, never on the number of
clips.

A score is that of `hero_jax.models.heads.clip_scores`: products in float32 of the query's unit
vector with frames as they are stored, divided by the stored norms.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from hero_jax.index import Snapshot
from hero_jax.models.heads import NORM_FLOOR, OUTSIDE, normalize
from hero_jax.retrieval import exact
from hero_jax.retrieval.exact import BestClips

# Bytes of the frames that are scored at once on all devices.
BLOCK_BYTES = 64 << 20
# Numbers of queries that are scored at once; each number is compiled once, so there are few.
QUERY_BLOCKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Bytes in float32 of the frames that a CPU multiplies at once: few enough for its caches.
TILE_BYTES = 6 << 20
# Largest number of queries for which a CPU converts frames as it multiplies, anew for each query.
# More queries share one conversion and a matrix product.
FEW_QUERIES = 2
# Clips of a list are scored in this many at once, so that few sizes are compiled.
LISTED = 128
# Parts of a float32 number in each stored dtype that together have its 24 bits, or nearly.
_PARTS = {"float16": 2, "bfloat16": 3, "float32": 1}


def best_clips(
    index: Snapshot,
    queries: np.ndarray,
    count: int,
    *,
    among: np.ndarray | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores and numbers of the best clips of each query, of equal scores the first.

    Args:
      queries: `[N, H]`, N at most the last of `QUERY_BLOCKS`.
      count: number of clips for each query.
      among: `[capacity]` bool, the clips that may be found; None for all.
      block_bytes: size of the frames that are scored at once on all devices.

    Returns:
      `[N, count]` float32 and `[N, count]` int32, -1 where there is no clip.
    """
    mesh = Mesh(np.array(jax.devices()), ("data",))
    replicated = NamedSharding(mesh, P())
    rows = jax.device_put(padded(queries), replicated)
    best = jax.device_put(exact.no_clips(len(rows), count), replicated)
    for first, block in _blocks(index, mesh, among, block_bytes):
        best = _merge(best, rows, first, *block, mesh=mesh)
    scores, clips = jax.tree.map(lambda x: x[: len(queries)], jax.device_get(best))
    return scores, np.where(scores > OUTSIDE, clips, -1)


def best_of(
    index: Snapshot, query: np.ndarray, numbers: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores and numbers of the best of some clips of a query, as `best_clips` does.

    Args:
      query: `[H]`.
      numbers: `[n]`, of the clips.

    Returns:
      `[count]` float32 and `[count]` int32, -1 where there is no clip.
    """
    scores = [np.full(count, OUTSIDE, np.float32)]
    clips = [np.full(count, -1, np.int32)]
    for first in range(0, len(numbers), LISTED):
        listed = numbers[first : first + LISTED]
        rows = padded(listed, (LISTED,))
        frames = index.frames(rows)
        num_frames = padded(index.num_frames()[listed], (LISTED,))
        norms = np.linalg.norm(frames.astype(np.float32), axis=2)
        of_rows = _scores(query[None], exact.as_bits(frames), num_frames, norms)
        scores.append(np.asarray(of_rows)[0, : len(listed)])
        clips.append(listed.astype(np.int32))
    joined, places = np.concatenate(scores), np.concatenate(clips)
    # Of equal scores the first clip; what is none comes last.
    best = np.lexsort((places, places < 0, -joined))[:count]
    return joined[best], np.where(joined[best] > OUTSIDE, places[best], -1)


def padded(array: np.ndarray, sizes: Sequence[int] = QUERY_BLOCKS) -> np.ndarray:
    """Pads an array with rows of zeros up to the smallest of some sizes that suffices."""
    size = next(size for size in sizes if size >= len(array))
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1))


def _blocks(
    index: Snapshot, mesh: Mesh, among: np.ndarray | None, block_bytes: int
) -> Iterator[tuple[int, tuple[jax.Array, ...]]]:
    """Yields the first number, and frames, lengths and norms, of blocks of one size.

    They are split over the devices. Blocks without a clip to find are not read.
    """
    rows = NamedSharding(mesh, P("data"))
    clip_bytes = index.max_frames * index.width * index.dtype.itemsize
    # A block is no larger than the index, and has as many clips on every device.
    size = min(max(block_bytes // clip_bytes, 1), index.capacity)
    size = -(-size // mesh.size) * mesh.size
    num_frames = index.num_frames()
    if among is not None:
        num_frames = np.where(among, num_frames, 0)
    for done in range(0, index.capacity, size):
        # The last block begins where it is complete, as zeros behind it would need a copy of all of
        # it. It has clips of the block before, which are not found again.
        first = min(done, max(index.capacity - size, 0))
        lengths = np.zeros(size, np.int32)
        new = num_frames[done : done + size]
        lengths[done - first : done - first + len(new)] = new
        if new.any():
            frames = exact.as_bits(index.block(first, size))
            yield first, jax.device_put((frames, lengths, index.norms(first, size)), rows)


@functools.partial(jax.jit, donate_argnums=0, static_argnames="mesh")
def _merge(
    best: BestClips,
    queries: jax.Array,
    first: jax.Array,
    frames: jax.Array,
    num_frames: jax.Array,
    norms: jax.Array,
    *,
    mesh: Mesh,
) -> BestClips:
    """Returns the best clips of those so far and of a block, whose first number is `first`."""
    split = P("data")
    scores = jax.shard_map(
        scores_of_stored,
        mesh=mesh,
        in_specs=(P(), split, split, split),
        out_specs=P(None, "data"),
        check_vma=False,
    )(queries, frames, num_frames, norms)
    return exact.merge_scores(best, scores, first)


def scores_of_stored(
    queries: jax.Array, frames: jax.Array, num_frames: jax.Array, norms: jax.Array
) -> jax.Array:
    """Computes clip scores on one device.

    Args:
      queries: `[N, H]`.
      frames: `[C, F, H]` in any float dtype, bfloat16 as `exact.as_bits` gives it.
      num_frames: `[C]` integers; 0 for a clip that is never found.
      norms: `[C, F]` float32, lengths of the frames' vectors.

    Returns:
      `[N, C]` float32; `heads.OUTSIDE` for a clip without frames.
    """
    inside = jnp.arange(frames.shape[1]) < num_frames[:, None]
    norms = jnp.maximum(norms, NORM_FLOOR)
    rows = (normalize(queries), frames, inside, norms)
    return lax.platform_dependent(*rows, cpu=in_tiles, default=at_once)


_scores = jax.jit(scores_of_stored)


def in_tiles(
    queries: jax.Array, frames: jax.Array, inside: jax.Array, norms: jax.Array
) -> jax.Array:
    """Computes `scores_of_stored` tile by tile, so that no block is ever there in float32.

    Args:
      queries: `[N, H]`, unit vectors.
      inside: `[C, F]` bool, the frames that clips have.
      norms: `[C, F]`, above 0.
    """
    clips, length, width = frames.shape
    size = min(max(TILE_BYTES // (4 * length * width), 1), clips)

    def score(n, scores):
        # The last tile begins where it is as long as the others.
        first = jnp.minimum(n * size, clips - size)
        tile, valid, norm = (
            lax.dynamic_slice_in_dim(x, first, size) for x in (frames, inside, norms)
        )
        vectors = exact.from_bits(tile.reshape(-1, width)).astype(jnp.float32)
        if len(queries) <= FEW_QUERIES:
            products = jnp.concatenate([query @ vectors.T for query in queries[:, None]])
            cosine = products.reshape(-1, size, length) / norm
            of_tile = jnp.where(valid, cosine, OUTSIDE).max(axis=2).T
        else:
            cosine = (vectors @ queries.T).reshape(size, length, -1) / norm[..., None]
            of_tile = jnp.where(valid[..., None], cosine, OUTSIDE).max(axis=1)
        return lax.dynamic_update_slice_in_dim(scores, of_tile, first, axis=0)

    scores = jnp.zeros((clips, len(queries)), jnp.float32)
    return lax.fori_loop(0, -(-clips // size), score, scores).T


def at_once(
    queries: jax.Array, frames: jax.Array, inside: jax.Array, norms: jax.Array
) -> jax.Array:
    """Computes `scores_of_stored` by products in the stored dtype, summed in float32.

    A GPU or TPU multiplies these directly. A query is the sum of parts in that dtype, so that none
    of its digits are lost. For the arguments see `in_tiles`.
    """
    clips, length, width = frames.shape
    frames = exact.from_bits(frames).reshape(-1, width)
    kind = jnp.finfo(frames.dtype)
    # Each part is scaled to the size of the first, so that it is not below the dtype's range.
    scale = 1 / float(kind.eps)
    parts, rest = [], queries
    for _ in range(_PARTS[frames.dtype.name]):
        # The compiler may leave out a conversion to fewer digits and back, but not this.
        parts.append(lax.reduce_precision(rest, kind.nexp, kind.nmant))
        rest = (rest - parts[-1]) * scale
    products = lax.dot_general(
        jnp.concatenate(parts).astype(frames.dtype),
        frames,
        (((1,), (1,)), ((), ())),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    ).reshape(len(parts), -1, clips, length)
    total = sum(products[n] / scale**n for n in reversed(range(len(parts))))
    return jnp.where(inside, total / norms, OUTSIDE).max(axis=-1)
