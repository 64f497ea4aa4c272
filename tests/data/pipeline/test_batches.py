"""The stream of batches: nothing lost, the same on any number of hosts and after any stop."""

import gc
import os
import shutil
import subprocess
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import pretrain
from data.errors import InputError
from data.pipeline.batches import fitting_rows
from data.pipeline.order import EpochOrder
from data.pipeline.stream import GroupState, decode_state, encode_state, initial_state
from data.records.reader import QuerySplit, Split
from data.schema import RawClip, RawQuery, RawSubtitle
from data.synthetic import tv_lengths
from tests.data.clip_samples import build
from tests.data.pipeline.packing_samples import (
    batch_config,
    expected_segments,
    found_queries,
    found_segments,
)
from tests.data.pipeline.stream_samples import assert_same, clip_batches, take, train
from tests.paths import ROOT

SECONDS_PER_FEATURE = 1.5
NUM_CLIPS = 23
SOME = settings(max_examples=15, deadline=None)
SHARD = "clips/2.0.0/films-train.tfrecord-00000-of-00001"


def raw_clip(name, num_frames, subtitles, seed=0):
    """subtitles: first frame, frames and words of each; a word is a letter, and so a token."""
    features = np.random.default_rng(seed).integers(1, 99, (num_frames, 2)).astype(np.float16)
    return RawClip(
        name,
        (features,),
        tuple(
            RawSubtitle(
                "z" * words, first * SECONDS_PER_FEATURE, (first + frames) * SECONDS_PER_FEATURE
            )
            for first, frames, words in subtitles
        ),
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Clips of 1 to 10 frames with 0 to 3 subtitles, and 0 to 2 queries about each."""
    folder = tmp_path_factory.mktemp("built") / "films"
    rng = np.random.default_rng(0)
    clips, queries = [], []
    for number in range(NUM_CLIPS):
        subtitles = [(3 * j, int(rng.integers(1, 4)), int(rng.integers(1, 9))) for j in range(3)]
        clip = raw_clip(f"c{number}", int(rng.integers(1, 11)), subtitles[: number % 4], number)
        clips.append(clip)
        queries += [
            RawQuery(f"q{number}{k}", clip.clip_id, "y" * (number % 7 + 1), ((1.0 * k, 4.0),))
            for k in range(number % 3)
        ]
    build(folder, {"train": clips}, {"train": queries})
    return folder


def batches(dataset, local=None, queries=None, **changes):
    """The batches of all groups, or of the `local` ones."""
    config = batch_config(**changes)
    local = range(config.groups) if local is None else local
    return clip_batches(Split(dataset, "train"), config, local, queries)


def clip_numbers(arrays, group):
    return arrays["clip_numbers"][group][arrays["num_frames"][group] > 0].tolist()


LAYOUTS = st.fixed_dictionaries(
    {
        "groups": st.integers(1, 4),
        "clips_per_group": st.integers(1, 5),
        "rows_per_group": st.integers(4, 8),
        "queries_per_clip": st.integers(0, 2),
        "max_waiting": st.integers(1, 3),
    }
)


@SOME
@given(LAYOUTS, st.integers(0, 2**32))
def test_every_position_is_packed_or_waits_and_the_first_to_wait_comes_next(dataset, layout, seed):
    source = batches(dataset, **layout)
    order = EpochOrder(NUM_CLIPS, seed)
    groups = layout["groups"]
    seen = [[] for _ in range(groups)]
    waiting = [[] for _ in range(groups)]
    for batch in train(source, seed, 8):
        states = decode_state(batch.state)
        assert batch.counts["waiting"] == sum(len(state.waiting) for state in states)
        assert batch.counts["clips"] == int((batch.arrays["num_frames"] > 0).sum())
        for group, state in enumerate(states):
            numbers = clip_numbers(batch.arrays, group)
            if waiting[group]:
                assert numbers[0] == order(waiting[group][0])
            seen[group] += numbers
            waiting[group] = state.waiting
            assert len(state.waiting) <= layout["max_waiting"]
            walked = [order(position) for position in range(group, state.cursor, groups)]
            assert sorted(seen[group] + [order(p) for p in state.waiting]) == sorted(walked)


@SOME
@given(LAYOUTS, st.integers(0, 2**32))
def test_clips_in_a_batch_are_those_of_their_records(dataset, layout, seed):
    source = batches(dataset, **layout)
    split = Split(dataset, "train")
    for batch in train(source, seed, 2):
        for group in range(layout["groups"]):
            arrays = {name: array[group] for name, array in batch.arrays.items()}
            for place, number in enumerate(clip_numbers(batch.arrays, group)):
                expected = expected_segments(split.read(number), source.config)
                found = found_segments(arrays, place, source.config)
                assert [(frames, [token for _, token in words]) for frames, words in found] == [
                    (frames, [token for _, token in words]) for frames, words in expected
                ]


@SOME
@given(LAYOUTS, st.integers(0, 2**32), st.data())
def test_batches_do_not_depend_on_the_number_of_hosts(dataset, layout, seed, data):
    groups = layout["groups"]
    cut = data.draw(st.integers(0, groups), label="groups of the first host")
    whole = train(batches(dataset, **layout), seed, 4)
    hosts = [
        train(batches(dataset, part, **layout), seed, 4)
        for part in (range(cut), range(cut, groups))
        if part
    ]
    for one, *parts in zip(whole, *hosts, strict=True):
        assert_same(
            one.arrays,
            {n: np.concatenate([part.arrays[n] for part in parts]) for n in one.arrays},
        )
        np.testing.assert_array_equal(one.state, np.concatenate([part.state for part in parts]))
        for name in set(one.counts) - {"corrupt"}:
            assert one.counts[name] == sum(part.counts[name] for part in parts)


@SOME
@given(LAYOUTS, st.integers(0, 2**32), st.integers(0, 5))
def test_a_resumed_stream_continues_as_if_it_had_not_stopped(dataset, layout, seed, stop):
    source = batches(dataset, **layout)
    uninterrupted = train(source, seed, stop + 3)
    state = (
        uninterrupted[stop - 1].state
        if stop
        else initial_state(source.groups, source.config.max_waiting)
    )
    resumed = take(batches(dataset, **layout).train(seed, state, stop), 3)
    for left, right in zip(uninterrupted[stop:], resumed, strict=True):
        assert_same(left.arrays, right.arrays)
        np.testing.assert_array_equal(left.state, right.state)
        assert left.counts == right.counts


@SOME
@given(LAYOUTS, st.booleans())
def test_one_pass_has_every_clip_and_every_query_once(dataset, layout, annotated):
    queries = QuerySplit(dataset, "train") if annotated else None
    source = batches(
        dataset, queries=queries, **layout | {"queries_per_clip": 2, "query_rows_per_group": 3}
    )
    numbers, found = [], []
    for batch in source.once(0):
        for group in range(layout["groups"]):
            numbers += clip_numbers(batch.arrays, group)
            arrays = {name: array[group] for name, array in batch.arrays.items()}
            for place, number in enumerate(clip_numbers(batch.arrays, group)):
                found += [(number, *query) for query in found_queries(arrays, place)]
    assert sorted(numbers) == list(range(NUM_CLIPS))
    if annotated:
        by_id = {Split(dataset, "train").read(number).clip_id: number for number in numbers}
        all_queries = [queries.read(number) for number in range(len(queries))]
        assert sorted((number, words) for number, words, _ in found) == sorted(
            (by_id[q.clip_id], q.token_ids[: source.config.max_query_tokens].tolist())
            for q in all_queries
        )


def test_draws_change_with_the_step_and_the_seed(dataset):
    source = batches(dataset, queries_per_clip=1, clips_per_group=12, rows_per_group=24)
    state = initial_state(source.groups, source.config.max_waiting)
    held_out = [
        next(source.train(0, state, step)).arrays["held_out"].tobytes() for step in range(12)
    ]
    # The same clips, but not the same subtitles.
    assert len(set(held_out)) > 1
    first, other = (next(source.train(seed, state, 0)).arrays for seed in (0, 1))
    assert clip_numbers(first, 0) != clip_numbers(other, 0)


def test_a_stream_that_is_dropped_leaves_nothing_behind(dataset):
    source = batches(dataset)
    stream = source.train(0, initial_state(range(1), 2), 0)
    next(stream)
    alive = weakref.ref(source)
    del source, stream
    gc.collect()
    assert alive() is None


LEAVE = """
import sys
import time
from tests.data.pipeline.packing_samples import batch_config
from data.pipeline.stream import initial_state
from data.records.reader import Split
from tests.data.pipeline.stream_samples import clip_batches

class SlowDisk(Split):
    def read(self, number):
        time.sleep(0.05)
        return super().read(number)

config = batch_config(groups=8)
source = clip_batches(SlowDisk(sys.argv[1], "train"), config, range(8))
stream = source.train(0, initial_state(range(8), config.max_waiting), 0)
next(stream)
raise SystemExit(3)
"""


def test_a_program_that_ends_while_records_are_read_ends(dataset):
    ended = subprocess.run(
        [sys.executable, "-c", LEAVE, str(dataset)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert ended.returncode == 3


@pytest.mark.parametrize(
    "changes", [{"rows_per_group": 1}, {"query_rows_per_group": 1, "queries_per_clip": 3}]
)
def test_a_clip_too_large_for_an_empty_group_is_named(dataset, changes):
    with pytest.raises(InputError, match=r"clip 'c\d+'.*batch\.rows_per_group"):
        for _ in batches(dataset, **changes).once(0):
            pass


@pytest.fixture
def damaged(dataset, tmp_path):
    """The dataset with one byte of its second record's features turned."""
    folder = tmp_path / "films"
    shutil.copytree(dataset, folder)
    offsets = np.load(folder / f"{SHARD}.index.npy")
    with (folder / SHARD).open("r+b") as file:
        file.seek((offsets[1] + offsets[2]) // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    return folder


def test_a_damaged_record_stops_the_stream_with_its_name(damaged):
    with pytest.raises(InputError, match=r"record 1 of .*films-train"):
        for _ in batches(damaged).once(0):
            pass


def test_a_damaged_record_is_left_out_and_counted_if_configured(damaged):
    config = batch_config(groups=2, rows_per_group=6)
    source = clip_batches(Split(damaged, "train", "skip"), config, range(2))
    numbers = []
    for batch in source.once(0):
        numbers += [n for group in range(2) for n in clip_numbers(batch.arrays, group)]
    assert sorted(numbers) == [0, *range(2, NUM_CLIPS)]
    assert batch.counts["corrupt"] == 1


def test_a_clip_that_waited_may_be_damaged_when_the_run_continues(damaged):
    config = batch_config()
    source = clip_batches(Split(damaged, "train", "skip"), config, range(1))
    order = EpochOrder(NUM_CLIPS, 0)
    position = next(p for p in range(NUM_CLIPS) if order(p) == 1)
    state = encode_state([GroupState(NUM_CLIPS, [position])], config.max_waiting)
    batch = next(source.train(0, state, 0))
    assert clip_numbers(batch.arrays, 0)[0] == order(NUM_CLIPS)


@pytest.fixture(scope="module")
def television(tmp_path_factory):
    """Clips as long as television's, with narrow features."""
    folder = tmp_path_factory.mktemp("built") / "television"
    rng = np.random.default_rng(0)
    lengths = [tv_lengths(rng) for _ in range(600)]
    clips = [raw_clip(f"c{i}", one.num_frames, one.subtitles) for i, one in enumerate(lengths)]
    build(folder, {"train": clips})
    return folder


def test_rows_of_the_full_recipe_are_92_percent_full(television):
    config = pretrain.get_config().batch
    config.groups = 1
    source = clip_batches(Split(television, "train"), config, range(1))
    fields = "rows_per_group", "query_rows_per_group", "frame_rows_per_group"
    config.update(dict(zip(fields, fitting_rows(source), strict=True)))
    counts = [batch.counts for batch in train(source, 0, 18)]
    assert sum(one["clips"] for one in counts) > 500
    slots = len(counts) * config.rows_per_group * config.row_length
    assert sum(one["filled_slots"] for one in counts) / slots >= 0.92
    slots = len(counts) * config.frame_rows_per_group * config.max_frames
    assert sum(one["frames"] for one in counts) / slots >= 0.78
    assert sum(one["cut_tokens"] + one["cut_frames"] for one in counts) == 0
