"""Queries to search with and clips to search in: each of a split once."""

import collections
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.pipeline.batches import Batches
from data.pipeline.clips import CorpusClips
from data.pipeline.retrieval import QueryTexts, Retrieval, WindowRetrieval
from data.pipeline.units import AnnotatedSplit
from data.records.reader import Split
from tests.data.pipeline.packing_samples import (
    METADATA,
    batch_config,
    expected_segments,
    found_features,
    found_segments,
    group_of,
    make_clip,
    make_query,
)
from tests.data.pipeline.stream_samples import batches_of
from tests.data.pipeline.unit_samples import NUM_CLIPS, damage

SOME = settings(max_examples=15, deadline=None)


def texts_of(split, config, groups) -> Batches:
    """Batches of a split's queries alone."""
    return batches_of(QueryTexts(config, split.metadata), split, groups, training=False)


def read(group, config) -> list[tuple[int, list[int]]]:
    """(number, words) of every query of a group, in order; each is whole, and in one row."""
    found = []
    for n in np.flatnonzero(group["query_mask"]):
        slots = np.flatnonzero(group["query_index"] == n)
        np.testing.assert_array_equal(slots, np.arange(slots[0], slots[0] + len(slots)))
        row = slots[0] // config.row_length
        assert slots[-1] // config.row_length == row
        segment_ids = group["query_segment_ids"][row]
        segment_id = group["query_segment_ids"].reshape(-1)[slots[0]]
        assert segment_id > 0
        assert (segment_ids == segment_id).sum() == len(slots)
        positions = group["query_position_ids"].reshape(-1)[slots]
        np.testing.assert_array_equal(positions, np.arange(len(slots)))
        tokens = group["query_token_ids"].reshape(-1)[slots].tolist()
        found.append((int(group["query_numbers"][n]), tokens))
    return found


@SOME
@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from([8, 11, 24]))
def test_every_query_is_packed_once_in_the_order_of_the_records(split, groups, rows, row_length):
    config = batch_config(groups=groups, query_rows_per_group=rows, row_length=row_length)
    most, cls = config.max_query_tokens, split.metadata.special_ids.cls
    counts = dict.fromkeys(("queries", "cut_tokens", "filled_query_slots"), 0)
    found = {group: [] for group in range(groups)}
    for batch in texts_of(split, config, range(groups)).once(0):
        for g in range(groups):
            found[g] += read(group_of(batch.arrays, g), config)
        for name in counts:
            counts[name] += batch.counts[name]
    texts = {n: [cls, *query.token_ids[:most].tolist()] for n, query in enumerate(split.queries)}
    for g in range(groups):
        assert found[g] == [(n, texts[n]) for n in range(g, len(texts), groups)]
    assert counts == {
        "queries": len(texts),
        "cut_tokens": sum(max(len(query.token_ids) - most, 0) for query in split.queries),
        "filled_query_slots": sum(map(len, texts.values())),
    }


def test_a_host_has_the_queries_of_its_groups(split):
    config = batch_config(groups=3)
    whole = list(texts_of(split, config, range(3)).once(0))
    for part in (range(1), range(1, 3)):
        host = list(texts_of(split, config, part).once(0))
        for batch, part_of_batch in zip(whole, host, strict=False):
            for name, array in part_of_batch.arrays.items():
                np.testing.assert_array_equal(
                    array, batch.arrays[name][part.start : part.stop], err_msg=name
                )


def test_queries_are_as_many_as_fit(split):
    config = batch_config(query_rows_per_group=2, row_length=24)
    sizes = [batch.counts["filled_query_slots"] for batch in texts_of(split, config, [0]).once(0)]
    # Another of at most six tokens does not fit both rows.
    assert all(size > 2 * 24 - 2 * 6 for size in sizes[:-1])
    assert len(sizes) > 2


def test_queries_of_single_words_fill_the_rows():
    queries = [make_query(f"q{n}", [7]) for n in range(20)]
    config = batch_config(query_rows_per_group=2, row_length=8)
    batches = list(texts_of(FewQueries(queries), config, [0]).once(0))
    assert [int(batch.arrays["query_mask"].sum()) for batch in batches] == [8, 8, 4]


class FewQueries:
    """A split of queries that are in memory."""

    metadata = SimpleNamespace(**vars(METADATA), name="few")

    def __init__(self, queries):
        self.queries = queries


def test_queries_without_words_are_packed():
    config = batch_config(query_rows_per_group=1, row_length=8)
    queries = [make_query(f"q{n}", []) for n in range(6)]
    batches = list(texts_of(FewQueries(queries), config, [0]).once(0))
    found = [number for batch in batches for number, _ in read(group_of(batch.arrays), config)]
    assert found == list(range(6))


def test_a_query_longer_than_a_row_is_an_error():
    config = batch_config(query_rows_per_group=1, row_length=8, max_query_tokens=8)
    texts = texts_of(FewQueries([make_query("long", range(5, 14))]), config, [0])
    with pytest.raises(InputError, match=r"query 'long' of 8 tokens.*max_query_tokens below 8"):
        list(texts.once(0))


def test_no_queries_are_no_batches_and_an_empty_one_has_the_shapes_of_others(split):
    config = batch_config(groups=2)
    assert list(texts_of(FewQueries([None, None]), config, range(2)).once(0)) == []
    texts = texts_of(split, config, range(2))
    full, empty = next(texts.once(0)).arrays, texts.empty().arrays
    assert {n: (x.shape, x.dtype) for n, x in empty.items()} == {
        n: (x.shape, x.dtype) for n, x in full.items()
    }
    assert not empty["query_mask"].any()


def test_damaged_queries_are_left_out(films, tmp_path):
    folder = tmp_path / "films"
    shutil.copytree(films, folder)
    damage(folder, "queries", 3)
    split = AnnotatedSplit(folder, "train", "skip")
    config = batch_config()
    batches = texts_of(split, config, [0]).once(0)
    found = [number for batch in batches for number, _ in read(group_of(batch.arrays), config)]
    assert found == [n for n in range(len(split.queries)) if n != 3]


@pytest.mark.parametrize("hosts", [[range(2)], [range(1), range(1, 2)]])
def test_every_clip_of_a_corpus_is_packed_once_without_queries(films, hosts):
    clips = Split(films, "train")
    config = batch_config(groups=2, clips_per_group=2, row_length=24)
    found = []
    for groups in hosts:
        for batch in batches_of(CorpusClips(config, clips.metadata), clips, groups).once(0):
            assert not batch.arrays["query_mask"].any()
            assert not batch.arrays["held_out"].any()
            assert batch.counts["queries"] == 0
            for g in range(len(groups)):
                found += packed_clips(group_of(batch.arrays, g), clips, config)
    assert sorted(found) == list(range(NUM_CLIPS))


def packed_clips(group, clips, config):
    """Numbers of a group's clips; checks the features and segments of each."""
    numbers = []
    for place in np.flatnonzero(group["num_frames"]):
        numbers.append(int(group["clip_numbers"][place]))
        clip = clips.read(numbers[-1])
        frames = min(len(clip.frame_features), config.max_frames)
        np.testing.assert_array_equal(found_features(group, place), clip.frame_features[:frames])
        assert found_segments(group, place, config) == [
            (frames, [(False, token) for _, token in words])
            for frames, words in expected_segments(clip, config, framed=True)
        ]
    return numbers


@given(st.integers(0, 9))
def test_queries_that_are_too_long_are_not_trained_on(length):
    config = batch_config()
    problem = Retrieval(config, METADATA).problem(make_query("q", range(5, 5 + length)))
    fits = length <= config.max_query_tokens
    assert problem == ("" if fits else "queries of more than 5 tokens")


def test_a_clip_is_laid_out_with_its_query_and_without_subtitles_without_frames():
    config = batch_config()
    clip = make_clip(np.random.default_rng(0), [2, 3, 2], [0, 0, 2])
    query = make_query("q", [7, 8], moments=np.array([[1.6, 3.1]]))
    layout = Retrieval(config, METADATA)
    prepared = layout.prepare(clip, 4, [(9, query)])
    assert prepared.number == 4
    assert prepared.lengths.tolist() == [2 + 1 + 2, 1 + 1 + 2]
    ((words, span),) = prepared.annotated
    assert (words.tolist(), span) == ([7, 8], (1, 2))
    assert layout.slots(prepared) == (5 + 4, 3, [3])


def windows_layout(**changes):
    config = batch_config(queries_per_clip=1, **changes)
    return WindowRetrieval(config, METADATA)


def drawn(layout, prepared, seed, step):
    """The span of the one query of a clip in a batch of this step."""
    arrays = group_of(layout.arrays(1))
    assert layout.packer(arrays, seed, step).add(prepared)
    assert arrays["query_mask"].tolist()[:2] == [True, False]
    return tuple(arrays["query_spans"][0].tolist())


def test_each_window_of_a_query_is_trained_on():
    clip = make_clip(np.random.default_rng(0), [2], [0] * 8)
    windows = np.array([[0.0, 3.0], [4.5, 7.5], [9.0, 12.0]])
    layout = windows_layout()
    prepared = layout.prepare(clip, 4, [(9, make_query("q", [7, 8], moments=windows))])
    found = [drawn(layout, prepared, 0, step) for step in range(600)]
    counts = collections.Counter(found)
    assert counts.keys() == {(0, 1), (3, 4), (6, 7)}
    # 200 times on average, with a standard deviation of 12.
    assert all(abs(count - 200) < 5 * 12 for count in counts.values())
    assert found[:9] == [drawn(layout, prepared, 0, step) for step in range(9)]
    assert found[:9] != [drawn(layout, prepared, 1, step) for step in range(9)]


@pytest.mark.parametrize(
    ("windows", "spans", "cut"),
    [
        ([], {(0, 7)}, 0),
        ([(3.0, 6.0)], {(2, 3)}, 0),
        # Of the windows those in the frames that are kept are drawn.
        ([(3.0, 6.0), (30.0, 40.0)], {(2, 3)}, 1),
        ([(9.0, 40.0), (30.0, 40.0)], {(6, 7)}, 1),
        ([(30.0, 40.0)], {(0, 7)}, 1),
    ],
)
def test_windows_after_the_frames_that_are_kept_are_not_trained_on(windows, spans, cut):
    clip = make_clip(np.random.default_rng(0), [2], [0] * 20)
    layout = windows_layout(max_frames=8)
    query = make_query("q", [7], moments=np.reshape(windows, (-1, 2)))
    prepared = layout.prepare(clip, 0, [(0, query)])
    assert {drawn(layout, prepared, 0, step) for step in range(20)} == spans
    assert prepared.cut_moments == cut
