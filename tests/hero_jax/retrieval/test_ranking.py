"""Ranking of clips and moments: equal to a plain search, for any blocks and devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from hero_jax import sharding
from hero_jax.models.heads import SpanHead, clip_scores
from hero_jax.retrieval import ranking
from hero_jax.retrieval.moments import RankingSettings, rank_moments, suppress
from hero_jax.retrieval.results import Moments
from tests.hero_jax.tiny import QUICK, make_config

SETTINGS = RankingSettings(
    top_clips=4,
    temperature=5.0,
    min_span=1,
    max_span=4,
    max_predictions=30,
    nms_iou=0.4,
    max_after_nms=7,
)
QUERIES, CLIPS, FRAMES = 3, 4, 7
SIZE = 16


def allowed_spans(length, chosen):
    return [
        (s, e)
        for s in range(length)
        for e in range(s, length)
        if chosen.min_span <= e - s < chosen.max_span
    ]


compiled_rank = jax.jit(functools.partial(rank_moments, settings=SETTINGS), compiler_options=QUICK)
compiled_suppress = jax.jit(functools.partial(suppress, settings=SETTINGS), compiler_options=QUICK)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_moments_are_the_best_of_all_that_are_allowed(seed, coarse):
    rng = np.random.default_rng(seed)
    # Logits of few values make equal scores.
    draw = functools.partial(rng.integers, 2) if coarse else rng.standard_normal
    scores = draw(size=(QUERIES, CLIPS)).astype(np.float32) / 5
    start, end = (draw(size=(QUERIES, CLIPS, FRAMES)).astype(np.float32) for _ in range(2))
    lengths = rng.integers(0, FRAMES + 1, (QUERIES, CLIPS))
    found = jax.device_get(compiled_rank(scores, start, end, lengths))
    for n in range(QUERIES):
        expected = {}
        for v, length in enumerate(lengths[n]):
            p_start, p_end = (np.exp(x[n, v, :length]) for x in (start, end))
            for s, e in allowed_spans(length, SETTINGS):
                p = p_start[s] / p_start.sum() * p_end[e] / p_end.sum()
                expected[v, s, e] = np.exp(SETTINGS.temperature * scores[n, v]) * p
        count = found.counts[n]
        assert count == min(len(expected), SETTINGS.max_predictions)
        spans = [
            (int(v), *map(int, x)) for v, x in zip(found.clips[n], found.spans[n], strict=True)
        ]
        assert spans[count:] == [(-1, 0, 0)] * (len(spans) - count)
        assert not found.scores[n, count:].any()
        spans = spans[:count]
        assert len(set(spans)) == count
        np.testing.assert_allclose(found.scores[n, :count], [expected[x] for x in spans], rtol=1e-5)
        order = [(-score, span) for score, span in zip(found.scores[n], spans, strict=False)]
        assert order == sorted(order)
        others = [value for span, value in expected.items() if span not in spans]
        assert max(others, default=0) <= found.scores[n, :count].min(initial=np.inf) * (1 + 1e-5)


@pytest.mark.parametrize(("frames", "min_span", "max_span"), [(3, 3, 5), (1, 0, 1), (2, 1, 9)])
def test_clips_shorter_than_spans(frames, min_span, max_span):
    chosen = RankingSettings(
        top_clips=1,
        temperature=1.0,
        min_span=min_span,
        max_span=max_span,
        max_predictions=5,
        nms_iou=0.0,
        max_after_nms=5,
    )
    logits = np.zeros((1, 2, frames), np.float32)
    lengths = np.full((1, 2), frames)
    rank = jax.jit(functools.partial(rank_moments, settings=chosen))
    found = rank(np.zeros((1, 2), np.float32), logits, logits, lengths)
    spans = np.asarray(found.spans)[0, : found.counts[0]].tolist()
    assert spans == 2 * [list(span) for span in allowed_spans(frames, chosen)]


def suppressed_plainly(rows):
    """Greedy suppression of (clip, first, last), one moment after the other."""
    kept = []
    for clip, first, last in rows:

        def overlap(other, clip=clip, first=first, last=last):
            if other[0] != clip:
                return 0
            shared = max(min(other[2], last) + 1 - max(other[1], first), 0)
            return shared / (max(other[2], last) + 1 - min(other[1], first))

        if all(overlap(other) <= SETTINGS.nms_iou for other in kept):
            kept.append((clip, first, last))
    return kept[: SETTINGS.max_after_nms]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, SETTINGS.max_predictions))
def test_suppression_is_greedy_and_within_clips(seed, count):
    rng = np.random.default_rng(seed)
    clips = np.full((1, SETTINGS.max_predictions), -1)
    clips[0, :count] = rng.integers(0, 3, count)
    first = rng.integers(0, 12, clips.shape)
    spans = np.stack([first, first + rng.integers(0, 9, clips.shape)], axis=-1)
    scores = np.where(clips >= 0, -np.sort(-rng.random(clips.shape)), 0).astype(np.float32)
    found = jax.device_get(compiled_suppress(Moments(clips, spans, scores)))
    expected = suppressed_plainly(
        [(c, *span) for c, span in zip(clips[0, :count], spans[0, :count], strict=True)]
    )
    assert found.clips.shape == (1, SETTINGS.max_after_nms)
    kept = found.counts[0]
    mine = zip(found.clips[0, :kept], found.spans[0, :kept], strict=True)
    assert [(c, *span) for c, span in mine] == expected
    by_row = {
        (c, *span): score for c, span, score in zip(clips[0], spans[0], scores[0], strict=True)
    }
    assert by_row.keys() >= set(expected)
    assert np.all(np.diff(found.scores[0, :kept]) <= 0)
    assert (found.clips[0, kept:] == -1).all()


@functools.cache
def span_head():
    return SpanHead(make_config().model, rngs=nnx.Rngs(0))


def make_corpus(num_clips, seed=0):
    """Frames and how many they are; the second clip and the last are the same."""
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal((num_clips, FRAMES, SIZE)).astype(np.float32)
    num_frames = rng.integers(1, FRAMES + 1, num_clips)
    frames[-1], num_frames[[1, -1]] = frames[1], FRAMES
    return frames, num_frames


def one_device():
    return sharding.make_mesh(make_config().mesh, jax.devices()[:1])


# As on a CPU, and as elsewhere, with other blocks so that it is compiled again.
@pytest.mark.parametrize(("block", "lookup"), [(4, (1, 1)), (5, (2, 3))])
def test_ranking_equals_a_plain_search(block, lookup, monkeypatch):
    """Blocks of queries that do not divide; queries without a clip of their own."""
    monkeypatch.setattr(ranking, "QUERY_BLOCK", 2)
    monkeypatch.setattr(ranking, "LOOKUP_BLOCK_CPU", lookup)
    frames, num_frames = make_corpus(12)
    rng = np.random.default_rng(1)
    queries = rng.standard_normal((5, SIZE)).astype(np.float32)
    own = np.array([3, -1, 10, 0, -1])
    corpus = ranking.Corpus(frames, num_frames, one_device(), block=block)
    found = ranking.rank(span_head(), queries, corpus, SETTINGS, own)

    valid = np.arange(FRAMES) < num_frames[:, None]
    scores = np.asarray(jax.jit(clip_scores)(queries, frames, valid))
    best = np.argsort(-scores, axis=1, kind="stable")[:, : SETTINGS.top_clips]
    np.testing.assert_array_equal(found.clips, best)
    best_scores = np.take_along_axis(scores, best, axis=1)
    np.testing.assert_allclose(found.clip_scores, np.exp(5 * best_scores), rtol=1e-5)
    every = np.broadcast_to(queries[:, None], (5, 12, SIZE))
    find_spans = jax.jit(lambda *arrays: span_head()(*arrays))
    start, end = jax.device_get(find_spans(every, frames, valid))
    rows = np.arange(5)[:, None]

    def search(scores, clips):
        numbers = num_frames[clips] * (clips >= 0)
        return compiled_rank(
            scores, start[rows, clips], end[rows, clips], numbers, clips=jnp.asarray(clips)
        )

    vcmr, svmr = search(best_scores, best), search(np.zeros((5, 1), np.float32), own[:, None])
    for mine, expected in (
        (found.vcmr, vcmr),
        (found.svmr, svmr),
        (found.vcmr_nms, compiled_suppress(vcmr)),
        (found.svmr_nms, compiled_suppress(svmr)),
    ):
        np.testing.assert_array_equal(mine.clips, expected.clips)
        np.testing.assert_array_equal(mine.spans, expected.spans)
        np.testing.assert_allclose(mine.scores, expected.scores, rtol=1e-4)
    assert (found.svmr.counts > 0).tolist() == [True, False, True, True, False]


def test_equal_clips_are_in_order_and_clips_without_frames_are_never_found():
    frames, num_frames = make_corpus(9)
    num_frames[4] = 0
    queries = frames[[1, 4], 0]
    corpus = ranking.Corpus(frames, num_frames, one_device(), block=4)
    found = ranking.rank_clips(queries, corpus, top_clips=100, temperature=2.0)
    assert found.clips.shape == (2, 9)
    assert found.clips[0, :2].tolist() == [1, 8]
    for clips, scores in zip(found.clips, found.clip_scores, strict=True):
        assert sorted(clips[:8]) == [0, 1, 2, 3, 5, 6, 7, 8]
        assert (clips[8], scores[8]) == (-1, 0)
        assert np.all(np.diff(scores) <= 0)
    assert found.vcmr is None
    nothing = ranking.rank_clips(queries[:0], corpus, top_clips=100, temperature=2.0)
    assert nothing.clips.shape == (0, 9)


def test_a_larger_corpus_takes_no_more_memory_than_itself():
    """A compiler for CPUs would rather have all of a corpus in float32, once."""
    graphdef, state = nnx.split(span_head())

    def temporary(num_clips):
        frames = np.zeros((num_clips, FRAMES, SIZE), jnp.bfloat16)
        corpus = ranking.Corpus(frames, np.ones(num_clips), one_device(), block=4)
        ranked = ranking._rank_block.lower(
            state,
            corpus.frames,
            corpus.num_frames,
            np.zeros((2, SIZE), np.float32),
            np.zeros(2, np.int32),
            graphdef=graphdef,
            mesh=corpus.mesh,
            settings=SETTINGS,
            top_clips=2,
            clip_block=corpus.block,
        )
        return ranked.compile().memory_analysis().temp_size_in_bytes, frames.nbytes

    (small, _), (large, size) = temporary(4), temporary(4000)
    assert large - small < size / 2


def check_ranking_on_eight_devices():
    """Ranks a corpus that is split over meshes of one, three and eight devices."""
    frames, num_frames = make_corpus(45)
    frames = frames.astype(jnp.bfloat16)
    queries = np.random.default_rng(1).standard_normal((9, SIZE)).astype(np.float32)
    # The first query finds two equal clips, on the first and the last device.
    queries[0] = frames[1, 0]
    own = np.array([44, 1, 17, -1, 30, 0, 8, 9, 10])
    assert len(jax.devices()) == 8

    def search(data, fsdp, tensor):
        mesh = {"data": data, "fsdp": fsdp, "tensor": tensor}
        devices = jax.devices()[: data * fsdp * tensor]
        corpus = ranking.Corpus(frames, num_frames, sharding.make_mesh(mesh, devices), block=4)
        return ranking.rank(span_head(), queries, corpus, SETTINGS, own)

    expected = search(1, 1, 1)
    assert expected.clips[0, :2].tolist() == [1, 44]
    assert (expected.svmr.counts > 0).tolist() == [number >= 0 for number in own]
    for sizes in ((3, 1, 1), (2, 2, 2)):
        jax.tree.map(np.testing.assert_array_equal, search(*sizes), expected)


def test_the_result_is_the_same_bit_for_bit_however_many_devices(eight_devices):
    eight_devices(check_ranking_on_eight_devices)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("top_clips", 0),
        ("max_predictions", 0),
        ("max_after_nms", 0),
        ("min_span", 4),
        ("min_span", -1),
        ("nms_iou", 1.5),
        ("temperature", 100.0),
    ],
)
def test_invalid_settings_are_refused(field, value):
    fields = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
    with pytest.raises(InputError, match=field):
        RankingSettings(**fields | {field: value})
