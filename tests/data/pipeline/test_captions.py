"""Captions: the frames of their moments and their words, each in a separate place."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.pipeline.captions import Captions, caption_range
from tests.data.pipeline.packing_samples import (
    METADATA,
    TOKENS,
    batch_config,
    clips,
    copy,
    expected_segments,
    found_segments,
    goes_on,
    group_of,
    make_clip,
    make_query,
    seen,
)

CONFIG = batch_config(queries_per_clip=3, row_length=24, rows_per_group=3)
STEP = METADATA.seconds_per_feature
MOMENTS = st.none() | st.tuples(st.floats(0, 15), st.floats(0, 6))


def expected_range(moment, num_frames, seconds_per_feature=STEP):
    """The golden README's formula, but the last frame for a moment after it."""
    if moment is None:
        return 0, num_frames
    start = min(math.floor(moment[0] / seconds_per_feature), num_frames)
    end = min(max(round(moment[1] / seconds_per_feature), start + 1), num_frames)
    return (start, end) if start < end else (num_frames - 1, num_frames)


@given(
    st.floats(0, 200),
    st.floats(0, 60),
    st.integers(1, 100),
    st.sampled_from([1.5, 2.0, 1.0, 0.1]),
)
def test_ranges_are_the_originals_and_never_empty(start, length, num_frames, step):
    first, end = caption_range((start, start + length), step, num_frames)
    assert (first, end) == expected_range((start, start + length), num_frames, step)
    assert 0 <= first < end <= num_frames


@pytest.mark.parametrize(
    ("moment", "frames"),
    [
        # 2.5 and 3.5 features: halves go to the even number, as Python rounds.
        ((0.0, 3.75), (0, 2)),
        ((0.0, 5.25), (0, 4)),
        # Frames are not rounded down to where a moment ends, nor up to where it begins.
        ((1.4, 3.8), (0, 3)),
        # At least one frame.
        ((3.0, 3.1), (2, 3)),
        # After the last frame, and across it.
        ((15.0, 18.0), (7, 8)),
        ((10.5, 99.0), (7, 8)),
        (None, (0, 8)),
    ],
)
def test_ranges_by_hand(moment, frames):
    assert caption_range(moment, STEP, 8) == frames


def test_ranges_are_exact_for_steps_that_are_no_binary_numbers():
    # 1 / 0.1 is 10, although 1 % 0.1 is nearly 0.1.
    assert caption_range((1.0, 2.0), 0.1, 100) == (10, 20)


@st.composite
def captions(draw):
    moment = draw(MOMENTS)
    moments = [] if moment is None else [(moment[0], sum(moment))]
    words = draw(st.lists(st.integers(5, 99), max_size=CONFIG.max_query_tokens + 2))
    return make_query("caption", words, moments=np.array(moments).reshape(-1, 2))


UNITS = st.tuples(clips(), st.lists(captions(), min_size=1, max_size=CONFIG.queries_per_clip))


@given(st.lists(UNITS, min_size=1, max_size=4))
def test_captions_are_with_their_clips(units):
    layout = Captions(CONFIG, METADATA)
    arrays = group_of(layout.arrays(1))
    packer, packed = layout.packer(arrays), []
    for place, (clip, queries) in enumerate(units):
        numbered = [(100 * place + n, query) for n, query in enumerate(queries)]
        before = copy(arrays)
        if not packer.full and packer.add(layout.prepare(clip, 40 + place, numbered)):
            packed.append((40 + place, clip, numbered))
            continue
        for name, array in before.items():
            np.testing.assert_array_equal(arrays[name], array)
    expected, cut_moments = [], 0
    for place, (record, clip, numbered) in enumerate(packed):
        num_frames = min(len(clip.frame_features), CONFIG.max_frames)
        assert arrays["clip_numbers"][place] == record
        assert arrays["num_frames"][place] == num_frames
        assert found_segments(arrays, place, CONFIG) == [
            (frames, [(False, token) for _, token in words])
            for frames, words in expected_segments(clip, CONFIG, framed=True)
        ]
        for number, query in numbered:
            words = query.token_ids[: CONFIG.max_query_tokens].tolist()
            moment = seen(query.moment, num_frames)
            expected.append((place, number, expected_range(moment, num_frames), words))
            cut_moments += goes_on(query.moment, num_frames)
    assert found_captions(arrays) == expected
    check_unused(arrays, len(expected))
    assert packer.counts["queries"] == len(expected)
    assert packer.counts["cut_moments"] == cut_moments
    assert packer.counts["filled_query_slots"] == sum(len(words) + 1 for *_, words in expected)


def found_captions(arrays):
    """(place of the clip, number, frames, words) of every caption of a group."""
    return [
        (
            int(arrays["query_clip"][n]),
            int(arrays["query_numbers"][n]),
            tuple(arrays["caption_ranges"][n].tolist()),
            arrays["caption_token_ids"][n, : arrays["caption_lengths"][n]].tolist(),
        )
        for n in np.flatnonzero(arrays["query_mask"])
    ]


def check_unused(arrays, used):
    np.testing.assert_array_equal(arrays["query_mask"], np.arange(9) < used)
    places = np.arange(CONFIG.max_query_tokens)
    unused = places >= arrays["caption_lengths"][:, None]
    assert (arrays["caption_token_ids"][unused] == TOKENS.pad).all()
    assert not arrays["caption_lengths"][used:].any()


@given(captions())
def test_captions_without_words_or_with_too_many_are_not_trained_on(query):
    layout = Captions(CONFIG, METADATA)
    too_long = len(query.token_ids) > CONFIG.max_query_tokens
    assert layout.problem(query) == ("captions of more than 5 tokens" if too_long else "")
    kept_back = make_query("moment", [], text="")
    assert layout.problem(kept_back) == "moments without a caption"


def test_what_is_cut_is_counted():
    clip = make_clip(np.random.default_rng(0), [8], [0])
    queries = [(n, make_query("c", range(5, 5 + length))) for n, length in enumerate((4, 5, 8))]
    prepared = Captions(CONFIG, METADATA).prepare(clip, 0, queries)
    assert prepared.cut_tokens == (8 - CONFIG.max_tokens) + (8 - CONFIG.max_query_tokens)
