"""The stages of the exact search: blocks in any sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hero_jax.models.heads import OUTSIDE, clip_scores
from hero_jax.retrieval import exact

QUERIES, CLIPS, FRAMES, SIZE = 3, 12, 5, 8
merge_block = jax.jit(exact.merge_block)


@pytest.mark.parametrize("sizes", [(12,), (4, 4, 4), (1, 4, 7)])
def test_blocks_give_the_best_clips_of_all(sizes):
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((CLIPS, FRAMES, SIZE)).astype(np.float16)
    queries = rng.standard_normal((QUERIES, SIZE)).astype(np.float32)
    num_frames = rng.integers(1, FRAMES + 1, CLIPS)
    num_frames[6] = 0
    best, first = exact.no_clips(QUERIES, CLIPS), 0
    for size in sizes:
        rows = slice(first, first + size)
        block = exact.ClipBlock(jnp.asarray(frames[rows]), num_frames[rows], first)
        best, first = merge_block(best, queries, block), first + size
    valid = np.arange(FRAMES) < num_frames[:, None]
    scores = np.asarray(clip_scores(queries, jnp.asarray(frames), valid))
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_array_equal(best.clips, order)
    np.testing.assert_allclose(best.scores, np.take_along_axis(scores, order, axis=1), rtol=1e-5)
    assert (np.asarray(best.clips)[:, -1] == 6).all()
    assert (np.asarray(best.scores)[:, -1] == OUTSIDE).all()


def test_equal_clips_are_in_order_across_blocks():
    best = exact.no_clips(1, 4)
    for first in (0, 3):
        block = exact.ClipBlock(jnp.ones((3, FRAMES, SIZE)), np.full(3, FRAMES), first)
        best = merge_block(best, np.ones((1, SIZE), np.float32), block)
    assert np.asarray(best.clips).tolist() == [[0, 1, 2, 3]]


def test_places_without_a_clip_come_last():
    best = exact.no_clips(1, 3)
    block = exact.ClipBlock(jnp.ones((1, FRAMES, SIZE)), np.array([FRAMES]), 7)
    best = merge_block(best, np.ones((1, SIZE), np.float32), block)
    assert np.asarray(best.clips).tolist() == [[7, -1, -1]]
    assert np.asarray(best.scores)[0, 1:].tolist() == [-np.inf, -np.inf]
