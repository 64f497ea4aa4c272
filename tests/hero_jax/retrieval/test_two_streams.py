"""Ranking by two models: by hand, and that of one model when both are the same."""

import jax
import numpy as np
import pytest
from flax import nnx

from hero_jax import sharding
from hero_jax.models.heads import SpanHead, clip_scores
from hero_jax.retrieval import ranking, two_streams
from hero_jax.retrieval.two_streams import EncodedStream
from tests.hero_jax.retrieval.test_ranking import SETTINGS
from tests.hero_jax.tiny import make_config

MODEL = make_config().model
QUERIES, CLIPS, FRAMES, SIZE = 9, 11, 7, MODEL.hidden_size
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(2, FRAMES + 1, CLIPS).astype(np.int32)
TARGETS = np.array([3, -1, 0, 10, 4, 4, 2, 1, 7])


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Clips in several blocks, the last one not full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_streams, "CLIP_BLOCK", 4)
        yield


def stream(seed):
    rng = np.random.default_rng(seed)
    queries, frames = rng.normal(size=(QUERIES, SIZE)), rng.normal(size=(CLIPS, FRAMES, SIZE))
    head = SpanHead(MODEL, rngs=nnx.Rngs(seed))
    return EncodedStream(head, queries.astype(np.float32), frames.astype(np.float32))


STREAMS = stream(1), stream(2)


def probabilities(one):
    """Cosines `[N, C]`, and probabilities `[N, C, 2, F]` of starts and ends."""
    valid = np.arange(FRAMES) < LENGTHS[:, None]
    scores = clip_scores(one.queries, one.frames, valid)
    queries = np.broadcast_to(one.queries[:, None], (QUERIES, CLIPS, SIZE))
    frames = np.broadcast_to(one.frames, (QUERIES, *one.frames.shape))
    logits = one.span_head(queries, frames, np.broadcast_to(valid, frames.shape[:3]))
    return np.asarray(scores), np.stack([np.asarray(jax.nn.softmax(x)) for x in logits], 2)


def test_moments_have_the_means_of_both_models():
    found = two_streams.rank(STREAMS, LENGTHS, SETTINGS, TARGETS)
    (first, spans), (second, other_spans) = map(probabilities, STREAMS)
    scores = (np.exp(SETTINGS.temperature * first) + np.exp(SETTINGS.temperature * second)) / 2
    mean = (spans + other_spans) / 2
    for n in range(QUERIES):
        best = np.argsort(-scores[n], kind="stable")[: SETTINGS.top_clips]
        np.testing.assert_array_equal(found.clips[n], best)
        np.testing.assert_allclose(found.clip_scores[n], scores[n, best], rtol=1e-4)
        for moments, clips, factor in (
            (found.vcmr, best, scores[n]),
            (found.svmr, TARGETS[n : n + 1][TARGETS[n : n + 1] >= 0], np.ones(CLIPS)),
        ):
            expected = {
                (c, s, e): factor[c] * mean[n, c, 0, s] * mean[n, c, 1, e]
                for c in clips
                for s in range(LENGTHS[c])
                for e in range(s + SETTINGS.min_span, min(s + SETTINGS.max_span, LENGTHS[c]))
            }
            count = min(len(expected), SETTINGS.max_predictions)
            rows = zip(moments.clips[n, :count], moments.spans[n, :count], strict=True)
            keys = [(int(clip), *map(int, span)) for clip, span in rows]
            values = [expected[key] for key in keys]
            np.testing.assert_allclose(moments.scores[n, :count], values, rtol=1e-4)
            np.testing.assert_allclose(values, sorted(expected.values())[::-1][:count], rtol=1e-4)
            assert not moments.scores[n, count:].any()


def test_clips_have_the_mean_of_both_cosines():
    found = two_streams.rank_clips(STREAMS, LENGTHS, top_clips=5, temperature=3.0)
    (first, _), (second, _) = map(probabilities, STREAMS)
    mean = (first + second) / 2
    best = np.argsort(-mean, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.clips, best)
    expected = np.exp(3 * np.take_along_axis(mean, best, axis=1))
    np.testing.assert_allclose(found.clip_scores, expected, rtol=1e-4)


def test_a_model_with_itself_ranks_as_alone():
    one = STREAMS[0]
    mesh = sharding.make_mesh(make_config().mesh, jax.devices()[:1])
    corpus = ranking.Corpus(one.frames, LENGTHS, mesh)
    alone = ranking.rank(one.span_head, one.queries, corpus, SETTINGS, TARGETS)
    both = two_streams.rank((one, one), LENGTHS, SETTINGS, TARGETS)
    for name, expected in alone._asdict().items():
        found = getattr(both, name)
        for values, others in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(values, others, rtol=1e-4, atol=1e-6, err_msg=name)
