"""Packing: every frame, word and query of a clip is in the arrays once and can be found."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.pipeline import asking, packing, segments
from tests.data.pipeline.packing_samples import (
    METADATA,
    TOKENS,
    annotate,
    batch_config,
    check_frame_padding,
    clips,
    copy,
    expected_segments,
    found_features,
    found_queries,
    found_segments,
    frame_targets,
    goes_on,
    group_of,
    make_clip,
    make_query,
    seen,
    subtitles_of,
)


def new_packer(config, choose):
    """A packer of one group, and the group's arrays."""
    group = group_of(packing.empty_batch(1, config, METADATA.feature_width, TOKENS.pad))
    return packing.GroupPacker(group, config, TOKENS, choose), group


@given(
    st.lists(clips(), min_size=1, max_size=6),
    st.integers(0, 3),
    st.sampled_from(
        [("subtitle", 0), ("subtitle", 2), ("subtitle_cls", 0), ("clip", 0), ("frames", 0)]
    ),
    st.integers(2, 5),
    st.sampled_from([(0, 0), (1, 7), (1, 19), (2, 9), (4, 7)]),
)
def test_nothing_is_lost_or_duplicated(source, queries_per_clip, layout, rows, frame_rows):
    segmentation, context = layout
    config = batch_config(
        segmentation=segmentation,
        context_subtitles=context,
        row_length=16 if not context else 32,
        rows_per_group=rows,
        queries_per_clip=queries_per_clip,
        frame_rows_per_group=frame_rows[0],
        frame_row_length=frame_rows[1],
        max_frames=7,
    )
    choose = asking.drawn_subtitles(3, 5, queries_per_clip)
    packer, arrays = new_packer(config, choose)
    packed = []
    for number, clip in enumerate(source):
        prepared = segments.prepare(clip, 40 + number, config, METADATA)
        before = copy(arrays)
        if not packer.full and packer.add(prepared):
            packed.append((clip, prepared))
        else:
            for name, array in before.items():
                np.testing.assert_array_equal(arrays[name], array)
    for place, (clip, prepared) in enumerate(packed):
        held_out, queries = choose(prepared)
        check_clip(arrays, place, clip, prepared.number, set(held_out.tolist()), config)
        assert found_queries(arrays, place) == [(list(w), span) for w, span in queries]
    check_padding(arrays, len(packed))
    check_counts(packer.counts, arrays, [clip for clip, _ in packed], config)


def check_clip(arrays, place, clip, number, held_out, config):
    expected = [
        (frames, [(subtitle in held_out, token) for subtitle, token in words])
        for frames, words in expected_segments(clip, config)
    ]
    assert found_segments(arrays, place, config) == expected
    num_frames = min(len(clip.frame_features), config.max_frames)
    assert arrays["num_frames"][place] == num_frames
    assert arrays["clip_numbers"][place] == number
    np.testing.assert_array_equal(found_features(arrays, place), clip.frame_features[:num_frames])
    in_segments = [frame for frames, _ in expected for frame in frames]
    slots = arrays["clip_slot"][place, :num_frames]
    np.testing.assert_array_equal(
        np.flatnonzero(arrays["frame_slot"].reshape(-1)[slots] >= 0), sorted(in_segments)
    )


def check_padding(arrays, num_clips):
    """Nothing is where no clip is."""
    padding = arrays["segment_ids"] == 0
    assert (arrays["token_ids"][padding] == TOKENS.pad).all()
    assert (arrays["frame_index"][padding] == -1).all()
    assert not arrays["held_out"][padding].any()
    query_padding = arrays["query_segment_ids"] == 0
    np.testing.assert_array_equal(query_padding, arrays["query_index"] == -1)
    assert (arrays["query_token_ids"][query_padding] == TOKENS.pad).all()
    assert not arrays["num_frames"][num_clips:].any()
    check_frame_padding(arrays)
    # Segments are numbered from 1 in every row, so that none is mistaken for padding.
    for row in (*arrays["segment_ids"], *arrays["query_segment_ids"]):
        assert set(row.tolist()) | {0} == set(range(int(row.max()) + 1))


def check_counts(counts, arrays, clips, config):
    expected = [expected_segments(clip, config) for clip in clips]
    frames = [min(len(clip.frame_features), config.max_frames) for clip in clips]
    words_kept = sum(len(part) for clip in clips for part in subtitles_of(clip, config))
    cut = sum(int(clip.token_counts.sum()) for clip in clips) - words_kept
    if config.segmentation == "clip":
        cut += words_kept - sum(len(words) for clip in expected for _, words in clip)
    assert counts == {
        "clips": len(clips),
        "segments": sum(map(len, expected)),
        "tokens": sum(len(words) + 1 for clip in expected for _, words in clip),
        "frames": sum(frames),
        "queries": int(arrays["query_mask"].sum()),
        "filled_slots": int((arrays["segment_ids"] > 0).sum()),
        "filled_query_slots": int((arrays["query_segment_ids"] > 0).sum()),
        "cut_tokens": cut,
        "cut_frames": sum(len(clip.frame_features) for clip in clips) - sum(frames),
        "cut_moments": 0,
    }


@given(clips(), st.integers(0, 3), st.integers(0, 2**40), st.integers(0, 2**20))
def test_queries_are_drawn_from_subtitles_with_frames_and_words(clip, count, seed, step):
    config = batch_config()
    prepared = segments.prepare(clip, 7, config, METADATA)
    chosen, queries = asking.drawn_subtitles(seed, step, count)(prepared)
    subtitles = subtitles_of(clip, config)
    owner = clip.frame_subtitle[: config.max_frames]
    possible = [j for j, words in enumerate(subtitles) if len(words) and (owner == j).any()]
    assert set(chosen) <= set(possible)
    assert len(set(chosen)) == len(chosen) == min(count, len(possible))
    for j, (words, span) in zip(chosen, queries, strict=True):
        frames = np.flatnonzero(owner == j)
        assert list(words) == subtitles[j].tolist()
        assert span == (frames[0], min(max(frames[-1], frames[0] + 1), len(owner) - 1))


def test_drawn_queries_depend_on_seed_step_and_clip_alone():
    rng = np.random.default_rng(0)
    clip = make_clip(rng, [3] * 40, range(40))
    config = batch_config(max_frames=40)

    prepared = segments.prepare(clip, 0, config, METADATA)

    def draw(seed, step, number):
        choose = asking.drawn_subtitles(seed, step, 5)
        return choose(dataclasses.replace(prepared, number=number))[0].tolist()

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({tuple(draw(*key)) for key in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)]}) == 4
    drawn = np.bincount(np.concatenate([draw(0, step, 0) for step in range(2000)]), minlength=40)
    # Each of the 40 subtitles 250 times on average, with a standard deviation of 15.
    assert abs(drawn - 250).max() < 5 * 15


@given(clips(), st.lists(st.integers(1, 8), max_size=4))
def test_annotated_queries_are_packed_and_hold_nothing_out(clip, lengths):
    config = batch_config(queries_per_clip=2, clips_per_group=2)
    queries = annotate(np.random.default_rng(0), lengths)
    prepared = segments.prepare(clip, 0, config, METADATA, queries)
    packer, arrays = new_packer(config, asking.annotated_queries)
    assert packer.add(prepared)
    assert not arrays["held_out"].any()
    num_frames = min(len(clip.frame_features), config.max_frames)
    assert found_queries(arrays, 0) == [
        (
            query.token_ids[: config.max_query_tokens].tolist(),
            frame_targets(seen(query.moment, num_frames), num_frames),
        )
        for query in queries
    ]
    cut = sum(max(count - config.max_tokens, 0) for count in clip.token_counts)
    cut += sum(max(count - config.max_query_tokens, 0) for count in lengths)
    assert packer.counts["cut_tokens"] == cut
    cut_moments = sum(goes_on(query.moment, num_frames) for query in queries)
    assert packer.counts["cut_moments"] == cut_moments


@pytest.mark.parametrize(
    ("moment", "span", "cut"),
    [
        ((3.0, 6.0), (2, 3), 0),
        # Less than a frame after the eight that are kept is rounding.
        ((9.0, 13.5), (6, 7), 0),
        ((12.2, 13.0), (7, 7), 0),
        ((9.0, 13.6), (6, 7), 1),
        # Nobody knows where in the frames that are kept this would be.
        ((14.0, 18.0), (0, 7), 1),
        (None, (0, 7), 0),
    ],
)
def test_moments_after_the_frames_that_are_kept_are_counted(moment, span, cut):
    clip = make_clip(np.random.default_rng(0), [2], [0] * 20)
    moments = np.reshape(() if moment is None else moment, (-1, 2))
    query = make_query("q", [7], moments=moments)
    prepared = segments.prepare(clip, 0, batch_config(max_frames=8), METADATA, [query])
    assert [found for _, found in prepared.annotated] == [span]
    assert prepared.cut_moments == cut


@pytest.mark.parametrize("changes", [{"query_rows_per_group": 1}, {"queries_per_clip": 1}])
def test_a_clip_whose_queries_do_not_fit_takes_no_room(changes):
    config = batch_config(
        **{"clips_per_group": 2, "rows_per_group": 1, "row_length": 12, "queries_per_clip": 3}
        | changes
    )
    rng = np.random.default_rng(0)
    # A whole row.
    clip = make_clip(rng, [6], [0] * 5)
    asked = segments.prepare(clip, 0, config, METADATA, annotate(rng, [5, 5, 5]))
    packer, arrays = new_packer(config, asking.annotated_queries)
    before = copy(arrays)
    assert not packer.add(asked)
    for name, array in before.items():
        np.testing.assert_array_equal(arrays[name], array)
    assert packer.add(segments.prepare(clip, 1, config, METADATA))
    assert not packer.add(segments.prepare(clip, 2, config, METADATA))


def test_a_clip_without_subtitles_is_segments_of_five_frames():
    clip = make_clip(np.random.default_rng(0), [], [-1] * 8)
    packer, arrays = new_packer(batch_config(), asking.annotated_queries)
    assert packer.add(segments.prepare(clip, 0, batch_config(), METADATA))
    assert found_segments(arrays, 0, batch_config()) == [([0, 1, 2, 3, 4], []), ([5, 6, 7], [])]


def test_a_subtitle_without_frames_may_be_left_out_and_is_still_context():
    config = batch_config(context_subtitles=1, row_length=24)
    clip = make_clip(np.random.default_rng(0), [3, 2, 4], [0, 0, 2, -1])
    packer, arrays = new_packer(config, asking.no_queries)
    assert packer.add(segments.prepare(clip, 0, config, METADATA, framed=True))
    words = [(False, int(token)) for token in clip.token_ids]
    assert found_segments(arrays, 0, config) == [([0, 1], words[:3]), ([2], words[3:])]


@pytest.mark.parametrize("words", [[], [0], [4]])
@pytest.mark.parametrize("segmentation", ["subtitle", "clip"])
def test_a_clip_of_a_single_frame(words, segmentation):
    config = batch_config(segmentation=segmentation)
    clip = make_clip(np.random.default_rng(0), words, [len(words) - 1])
    choose = asking.drawn_subtitles(0, 0, 2)
    packer, arrays = new_packer(config, choose)
    assert packer.add(segments.prepare(clip, 0, config, METADATA))
    assert [frames for frames, _ in found_segments(arrays, 0, config)] == [[0]]
    assert [span for _, span in found_queries(arrays, 0)] == [(0, 0)] * (words == [4])


@given(st.lists(st.integers(1, 16), max_size=30), st.integers(1, 5))
def test_places_do_not_overlap_and_refusal_changes_nothing(lengths, num_rows):
    rows = packing.Rows(num_rows, 16)
    taken = np.zeros((num_rows, 16), int)
    for some in np.array_split(np.array(lengths, int), 3):
        free, segments = rows.free.copy(), rows.segments.copy()
        places = rows.place(some)
        if places is None:
            np.testing.assert_array_equal(rows.free, free)
            np.testing.assert_array_equal(rows.segments, segments)
            continue
        for length, first in zip(some, places[0], strict=True):
            row, slot = divmod(int(first), 16)
            assert slot + length <= 16
            taken[row, slot : slot + length] += 1
    assert taken.max(initial=0) <= 1
    np.testing.assert_array_equal(rows.free, 16 - taken.sum(axis=1))


def test_clips_that_cannot_be_laid_out_are_errors():
    rng = np.random.default_rng(0)
    config = batch_config(row_length=8)
    with pytest.raises(InputError, match=r"'long'.* 9 frames and tokens.*row_length"):
        segments.prepare(make_clip(rng, [1], [0] * 8, "long"), 0, config, METADATA)
    segments.prepare(make_clip(rng, [1], [0] * 7, "fits"), 0, config, METADATA)
    empty = make_clip(rng, [2], [], "empty")
    with pytest.raises(InputError, match="'empty' has no frames"):
        segments.prepare(empty, 0, config, METADATA)


def test_words_that_fill_a_row_are_cut_and_counted():
    config = batch_config(row_length=8)
    clip = make_clip(np.random.default_rng(0), [6, 3, 5], [0, 0, 1])
    found = segments.prepare(clip, 0, config, METADATA, tails=([1], [2, 3]), framed=True)
    # Both versions of a segment have as many words: as the longer text after them leaves room for.
    assert found.lengths.tolist() == [7, 6, 8, 7]
    words = found.slot_token[found.slot_subtitle == 0].reshape(2, -1)
    np.testing.assert_array_equal(words, [clip.token_ids[:3]] * 2)
    # The last subtitle has no frames, so its words do not count as cut.
    assert found.cut_tokens == 3


def test_context_that_does_not_fit_a_row_is_left_out():
    config = batch_config(row_length=12, context_subtitles=2)
    clip = make_clip(np.random.default_rng(0), [4, 3, 5], [0, 1, 2])
    found = segments.prepare(clip, 0, config, METADATA)
    owners = found.slot_subtitle[found.slot_segment == 2]
    assert owners[owners >= 0].tolist() == [1] * 3 + [2] * 5
    assert found.cut_tokens == 0


@pytest.mark.parametrize("num_frames", [8, 9, 12])
@pytest.mark.parametrize("words", [[], [6]])
def test_a_whole_clip_needs_a_row_longer_than_its_frames(num_frames, words):
    config = batch_config(segmentation="clip", row_length=8, max_frames=12)
    clip = make_clip(np.random.default_rng(0), words, [-1] * num_frames)
    with pytest.raises(InputError, match="row_length"):
        segments.prepare(clip, 0, config, METADATA)


def test_the_layout_of_a_clip_does_not_depend_on_what_is_cut():
    rng = np.random.default_rng(0)
    config = batch_config()
    clip = make_clip(rng, [8, 3], [0, 0, 1, 1, -1, 0, 1, 1, 0, 0])
    cut = dataclasses.replace(
        clip,
        frame_features=clip.frame_features[:8],
        frame_subtitle=clip.frame_subtitle[:8],
        token_ids=np.delete(clip.token_ids, [6, 7]),
        token_counts=np.array([6, 3], np.int32),
    )
    long, short = (segments.prepare(c, 0, config, METADATA) for c in (clip, cut))
    for name in ("lengths", "slot_token", "slot_position", "slot_frame", "slot_segment"):
        np.testing.assert_array_equal(getattr(long, name), getattr(short, name))
    assert (long.cut_tokens, long.cut_frames) == (2, 2)
    assert (short.cut_tokens, short.cut_frames) == (0, 0)


def test_subtitles_of_a_sequence_are_kept_without_frames_and_counted_beyond_the_most():
    """Each version has the slots of its subtitles' special tokens."""
    config = batch_config(max_subtitles=2, clips_per_group=2, rows_per_group=6)
    rng = np.random.default_rng(0)
    # The second subtitle has no frame; the third one is beyond the most.
    clip = make_clip(rng, [2, 3, 4], [0, 0, -1, 2])
    arrays = {
        name: array[0]
        for name, array in packing.clip_arrays(
            1, config, METADATA.feature_width, TOKENS.pad, 3
        ).items()
    }
    packer = packing.ClipPacker(arrays, config)
    tails = ([TOKENS.sep, 50], [TOKENS.sep, 60, 61])
    prepared = segments.prepare(clip, 0, config, METADATA, tails=tails, framed=True)
    assert packer.add(prepared)
    assert packer.counts["cut_tokens"] == 4
    assert arrays["subtitle_slot"].shape == (6, 2)
    assert (arrays["subtitle_slot"][len(tails) :] == -1).all()
    tokens, starts = arrays["token_ids"].reshape(-1), np.cumsum([0, 2, 3])
    for slots, tail in zip(arrays["subtitle_slot"], tails, strict=False):
        for j, slot in enumerate(slots):
            words = clip.token_ids[starts[j] : starts[j + 1]].tolist()
            text = [TOKENS.sep, *words, *tail]
            assert tokens[slot : slot + len(text)].tolist() == text
