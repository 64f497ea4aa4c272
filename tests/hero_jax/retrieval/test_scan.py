"""The scan of an index: scores of stored frames, and the best clips of an index on disk."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_jax.index import DTYPES, Entry, Index, Writer, create
from hero_jax.models.heads import NORM_FLOOR, OUTSIDE
from hero_jax.retrieval import scan
from hero_jax.retrieval.exact import as_bits

WIDTH, MAX_FRAMES = 16, 5


def stored(clips, dtype, seed=0, width=WIDTH):
    """Returns frames of clips of several lengths and sizes, their lengths and norms."""
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal((clips, MAX_FRAMES, width), np.float32)
    # Among them numbers below the normal ones of float16.
    frames *= 10.0 ** rng.integers(-6, 3, (clips, MAX_FRAMES, 1))
    frames[0, 0] = 0
    frames = frames.astype(dtype)
    norms = np.linalg.norm(frames.astype(np.float32), axis=-1)
    return frames, rng.integers(0, MAX_FRAMES + 1, clips).astype(np.int32), norms


def expected_scores(queries, frames, num_frames):
    """Computes clip scores as `heads.clip_scores` defines them, in float64."""
    queries, frames = (np.asarray(x).astype(np.float64) for x in (queries, frames))
    queries /= np.linalg.norm(queries, axis=-1, keepdims=True)
    frames /= np.maximum(np.linalg.norm(frames, axis=-1, keepdims=True), NORM_FLOOR)
    inside = np.arange(frames.shape[1]) < num_frames[:, None]
    return np.where(inside, np.einsum("nh,cfh->ncf", queries, frames), OUTSIDE).max(axis=-1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", ["in_tiles", "at_once"])
@pytest.mark.parametrize("num_queries", [1, scan.FEW_QUERIES, scan.FEW_QUERIES + 1, 9])
def test_scores_are_exact_in_each_dtype_and_on_each_kind_of_device(
    monkeypatch, num_queries, way, dtype
):
    # Tiles of three clips; the last of them begins within the one before.
    monkeypatch.setattr(scan, "TILE_BYTES", 3 * MAX_FRAMES * WIDTH * 4)
    frames, num_frames, norms = stored(11, dtype)
    queries = np.random.default_rng(1).standard_normal((num_queries, WIDTH), np.float32)
    queries /= np.linalg.norm(queries, axis=-1, keepdims=True)
    inside = np.arange(MAX_FRAMES) < num_frames[:, None]
    compute = jax.jit(getattr(scan, way))
    scores = compute(queries, as_bits(frames), inside, np.maximum(norms, NORM_FLOOR))
    np.testing.assert_allclose(scores, expected_scores(queries, frames, num_frames), atol=3e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("num_queries", [1, 8])
def test_a_block_is_never_converted_as_a_whole(num_queries, dtype):
    frames = np.zeros((2048, MAX_FRAMES, 768), dtype)
    lowered = jax.jit(scan.scores_of_stored).lower(
        np.zeros((num_queries, 768), np.float32),
        as_bits(frames),
        np.zeros(len(frames), np.int32),
        np.zeros(frames.shape[:2], np.float32),
    )
    used = lowered.compile().memory_analysis().temp_size_in_bytes
    # A tile as it is and in float32, and the scores; in float32 a block has five tiles.
    assert used < 2 * scan.TILE_BYTES < 2 * frames.size


def make_index(path, entries, dtype="float16"):
    """Writes entries in two steps, so that they lie in two segments."""
    create(
        path,
        width=WIDTH,
        dtype=dtype,
        max_frames=MAX_FRAMES,
        seconds_per_feature=1.5,
        model={"identity": "a model"},
    )
    with Writer(path) as writer:
        half = len(entries) // 3
        writer.add(entries[:half])
        writer.add(entries[half:])
    return path


def entries_of(frames, num_frames):
    return [
        Entry(f"c{n}", "v", 0.0, clip[:length], ())
        for n, (clip, length) in enumerate(zip(frames, num_frames, strict=True))
    ]


def best_of(scores, count):
    """Returns the best clips of each query, of equal scores the first, -1 for none."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(scores, order, axis=1)
    return best, np.where(best > OUTSIDE, order, -1)


@settings(max_examples=6, deadline=None)
@given(
    st.integers(3, 40),
    st.sampled_from(DTYPES),
    st.sampled_from((1, 2, 3, 9)),
    st.integers(1, 45),
    st.integers(0, 1 << 16),
)
def test_best_clips_of_an_index_with_deletions_and_filters(
    tmp_path_factory, clips, dtype, num_queries, block_clips, seed
):
    rng = np.random.default_rng(seed)
    frames, num_frames, _ = stored(clips, dtype, seed)
    num_frames = np.maximum(num_frames, 1)
    path = make_index(tmp_path_factory.mktemp("index") / "i", entries_of(frames, num_frames), dtype)
    gone = rng.choice(clips, clips // 3, replace=False)
    with Writer(path) as writer:
        writer.delete([f"c{n}" for n in gone])
    index = Index(path)
    there = dict(index.clip_ids())
    numbers = {name: number for number, name in there.items()}
    # A segment whose clips are all deleted is gone.
    count = min(index.capacity, 7)
    left = np.zeros(index.capacity, np.int32)
    vectors = index.block(0, index.capacity)
    for name, number in numbers.items():
        left[number] = num_frames[int(name[1:])]
    queries = rng.standard_normal((num_queries, WIDTH)).astype(np.float32)
    for among in (None, rng.random(index.capacity) < 0.5):
        lengths = left if among is None else np.where(among, left, 0)
        expected, order = best_of(expected_scores(queries, vectors, lengths), count)
        scores, best = scan.best_clips(
            index,
            queries,
            count,
            among=among,
            block_bytes=block_clips * MAX_FRAMES * WIDTH * index.dtype.itemsize,
        )
        found = best >= 0
        np.testing.assert_array_equal(found, order >= 0)
        np.testing.assert_allclose(scores[found], expected[found], atol=3e-7)
        # Two clips whose exact scores are as close as the rounding may change places.
        own = np.take_along_axis(expected_scores(queries, vectors, lengths), best, axis=1)
        np.testing.assert_allclose(own[found], expected[found], atol=3e-7)
        # Those of a list of clips, in any order, are scored alike.
        listed = np.flatnonzero(lengths)[::-1]
        of_list, numbers_of_list = scan.best_of(index, queries[0], listed, count)
        np.testing.assert_array_equal(numbers_of_list >= 0, found[0])
        np.testing.assert_allclose(of_list[found[0]], expected[0][found[0]], atol=3e-7)


@pytest.mark.parametrize("num_queries", [1, 2, 3, 9])
def test_equal_clips_are_in_order_over_tiles_blocks_and_segments(
    tmp_path, monkeypatch, num_queries
):
    monkeypatch.setattr(scan, "TILE_BYTES", 3 * MAX_FRAMES * WIDTH * 4)
    frames = np.repeat(stored(1, "float16", 5)[0], 77, axis=0)
    index = Index(make_index(tmp_path / "i", entries_of(frames, [MAX_FRAMES] * 77)))
    queries = np.random.default_rng(1).standard_normal((num_queries, WIDTH), np.float32)
    for clips in (7, 30, 100):
        size = clips * MAX_FRAMES * WIDTH * 2
        scores, best = scan.best_clips(index, queries, 77, block_bytes=size)
        assert (scores == scores[:, :1]).all()
        np.testing.assert_array_equal(best, np.tile(np.arange(77), (num_queries, 1)))
