"""A mixture: shares are kept, clips repeat after all of their source, resuming is exact."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.pipeline.batches import fitting_rows
from data.pipeline.mixture import BLOCK, Mixture, MixtureOrder, shares, taken
from data.pipeline.order import EpochOrder
from data.pipeline.stream import initial_state
from data.records.reader import Split
from tests.data.clip_samples import build
from tests.data.pipeline.packing_samples import batch_config, found_features, group_of
from tests.data.pipeline.stream_samples import clip_batches
from tests.data.raw_samples import raw_clip

SIZES = {"long": 7, "short": 12}
SEEDS = st.integers(0, 2**64)
SOME = settings(max_examples=10, deadline=None)


@st.composite
def mixtures(draw):
    """Sizes and shares of one to five sources, some with a share of 0."""
    sizes = draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    weight = st.floats(0.01, 100) | st.integers(0, 9)
    weights = draw(st.lists(weight, min_size=len(sizes), max_size=len(sizes)).filter(any))
    return sizes, shares(draw(st.sampled_from([(), tuple(weights)])), sizes)


def walk(order, sizes, positions):
    """The source, and the record in it, at each position."""
    first = np.cumsum([0, *sizes])
    numbers = np.array([order(position) for position in range(positions)])
    assert ((numbers >= 0) & (numbers < first[-1])).all()
    sources = np.searchsorted(first, numbers, "right") - 1
    return sources, numbers - first[sources]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=5))
def test_without_weights_shares_go_by_size(sizes):
    assert shares((), sizes) == pytest.approx([size / sum(sizes) for size in sizes])
    assert math.isclose(sum(shares((), sizes)), 1)


@given(mixtures(), st.integers(0, 10**9), st.integers(1, 100))
def test_sources_have_their_share_at_every_position(mixture, first, count):
    of_each = mixture[1]
    counts = np.array([taken(first + more, of_each) for more in range(count)])
    positions = np.arange(first, first + count)
    np.testing.assert_array_equal(counts.sum(1), positions)
    # No number ever falls.
    assert (np.diff(counts, axis=0) >= 0).all()
    away = np.abs(counts - np.outer(positions, of_each))
    assert away.max() <= (len(of_each) - 1) / 2 + 1e-6


@given(mixtures(), SEEDS)
def test_shares_are_kept_at_the_end_of_a_block_and_nearly_within_it(mixture, seed):
    sizes, of_each = mixture
    positions = 20 * BLOCK
    sources, _ = walk(MixtureOrder(sizes, of_each, seed), sizes, positions)
    counts = np.cumsum(sources[:, None] == np.arange(len(sizes)), axis=0)
    away = np.abs(counts - np.outer(np.arange(1, positions + 1), of_each))
    others = len(sizes) - 1
    assert away[BLOCK - 1 :: BLOCK].max() <= others / 2 + 1e-6
    # Furthest if half a block is a source's and all that comes first.
    assert away.max() <= BLOCK / 4 + 1.5 * others + 1e-6


@given(mixtures(), SEEDS)
def test_a_source_has_all_its_clips_before_it_repeats_one(mixture, seed):
    sizes, of_each = mixture
    sources, records = walk(MixtureOrder(sizes, of_each, seed), sizes, 300)
    for source, size in enumerate(sizes):
        walked = records[sources == source]
        for first in range(0, len(walked), size):
            epoch = walked[first : first + size]
            assert len(set(epoch.tolist())) == len(epoch)


@given(st.integers(1, 500), SEEDS, st.integers(0, 10**9))
def test_one_source_alone_is_in_the_order_of_its_epochs(size, seed, first):
    mixed, alone = MixtureOrder([size], [1.0], seed), EpochOrder(size, seed)
    positions = range(first, first + 100)
    assert [mixed(position) for position in positions] == [alone(p) for p in positions]


def test_sources_of_the_same_size_have_different_orders():
    sources, records = walk(MixtureOrder([50, 50], [0.5, 0.5], 0), [50, 50], 96)
    assert records[sources == 0].tolist() != records[sources == 1].tolist()


@pytest.mark.parametrize("groups", [2, 3, 16, 32])
def test_no_group_has_more_of_a_source_than_others(groups):
    """A group takes every n-th position, so a repeating pattern would favor some groups."""
    count = 500
    sources, _ = walk(MixtureOrder([9, 9], [0.5, 0.5], 0), [9, 9], groups * count)
    parts = sources.reshape(count, groups).mean(0)
    assert np.abs(parts - 0.5).max() < 5 * 0.5 / math.sqrt(count)


def test_seeds_and_blocks_have_sources_at_different_places():
    first, other = (
        walk(MixtureOrder([9, 9], [0.5, 0.5], seed), [9, 9], 2 * BLOCK)[0] for seed in (0, 1)
    )
    assert first.tolist() != other.tolist()
    assert first[:BLOCK].tolist() != first[BLOCK:].tolist()


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """A folder with datasets of clips of 16 frames with subtitles, and of 2 without."""
    folder = tmp_path_factory.mktemp("built")
    changes = {"long": {"num_frames": 16}, "short": {"num_frames": 2, "subtitles": ()}}
    for name, size in SIZES.items():
        build(folder / name, {"train": [raw_clip(index, **changes[name]) for index in range(size)]})
    return folder


def batches(datasets, weights, local=None, **changes):
    """Batches of both datasets, of all groups or the `local` ones."""
    config = batch_config(**{"row_length": 24, "max_frames": 16, "groups": 2} | changes)
    local = range(config.groups) if local is None else local
    splits = {name: Split(datasets / name, "train") for name in SIZES}
    return clip_batches(Mixture(splits, weights), config, local)


def train(source, seed, count, state=None, first_step=0):
    if state is None:
        state = initial_state(source.groups, source.config.max_waiting)
    stream = source.train(seed, state, first_step)
    return [next(stream) for _ in range(count)]


WEIGHTS = st.sampled_from([(), (0.7, 0.3), (1, 5), (0, 1)])
LAYOUTS = st.fixed_dictionaries({"groups": st.integers(1, 4), "clips_per_group": st.integers(1, 5)})


@SOME
@given(WEIGHTS, LAYOUTS, SEEDS)
def test_clips_are_those_of_their_source_and_are_counted_by_it(datasets, weights, layout, seed):
    source = batches(datasets, weights, **layout)
    splits = [Split(datasets / name, "train") for name in SIZES]
    clips = [split.read(number) for split in splits for number in range(len(split))]
    for batch in train(source, seed, 4):
        used = batch.arrays["num_frames"] > 0
        numbers = batch.arrays["clip_numbers"][used]
        for number, (group, place) in zip(numbers, np.argwhere(used), strict=True):
            found = found_features(group_of(batch.arrays, group), place)
            np.testing.assert_array_equal(found, clips[number].frame_features)
        counts = {name: batch.counts[f"clips/{name}"] for name in SIZES}
        assert counts == {"long": (numbers < 7).sum(), "short": (numbers >= 7).sum()}
        assert sum(counts.values()) == batch.counts["clips"]


@SOME
@given(WEIGHTS, LAYOUTS, SEEDS, st.data())
def test_batches_do_not_depend_on_the_number_of_hosts(datasets, weights, layout, seed, data):
    cut = data.draw(st.integers(0, layout["groups"]), label="groups of the first host")
    whole = train(batches(datasets, weights, **layout), seed, 3)
    hosts = [
        train(batches(datasets, weights, part, **layout), seed, 3)
        for part in (range(cut), range(cut, layout["groups"]))
        if part
    ]
    for one, *parts in zip(whole, *hosts, strict=True):
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(
                array, np.concatenate([part.arrays[name] for part in parts]), err_msg=name
            )
        np.testing.assert_array_equal(one.state, np.concatenate([part.state for part in parts]))
        for name in one.counts:
            assert one.counts[name] == sum(part.counts[name] for part in parts)


@SOME
@given(WEIGHTS, LAYOUTS, SEEDS, st.integers(1, 8))
def test_a_resumed_stream_continues_as_if_it_had_not_stopped(datasets, weights, layout, seed, stop):
    uninterrupted = train(batches(datasets, weights, **layout), seed, stop + 3)
    state = uninterrupted[stop - 1].state
    resumed = train(batches(datasets, weights, **layout), seed, 3, state, stop)
    for left, right in zip(uninterrupted[stop:], resumed, strict=True):
        for name, array in left.arrays.items():
            np.testing.assert_array_equal(array, right.arrays[name], err_msg=name)
        np.testing.assert_array_equal(left.state, right.state)
        assert left.counts == right.counts


def test_one_pass_has_every_clip_of_every_source(datasets):
    numbers = []
    for batch in batches(datasets, (0, 1)).once(0):
        numbers += batch.arrays["clip_numbers"][batch.arrays["num_frames"] > 0].tolist()
    assert sorted(numbers) == list(range(sum(SIZES.values())))


def test_rows_are_as_many_as_the_mixed_clips_need(datasets):
    layout = {"clips_per_group": 64, "queries_per_clip": 1}
    long, mixed, short = (
        fitting_rows(batches(datasets, weights, **layout))[0]
        for weights in ((1, 0), (0.6, 0.4), (0, 1))
    )
    config = batches(datasets, (), **layout).config
    alone = [
        fitting_rows(clip_batches(Split(datasets / name, "train"), config, range(2)))[0]
        for name in SIZES
    ]
    assert [long, short] == alone
    assert long > 4 * short
    assert abs(mixed - (0.6 * long + 0.4 * short)) <= 1


def test_a_source_without_a_readable_record_is_named(datasets, tmp_path):
    build(tmp_path / "broken", {"train": [raw_clip(0), raw_clip(1)]})
    (shard,) = (tmp_path / "broken" / "clips").glob("*/*-train.tfrecord*-of-00001")
    content = np.fromfile(shard, np.uint8)
    content[[60, -60]] ^= 1
    content.tofile(shard)
    splits = {
        "long": Split(datasets / "long", "train"),
        "broken": Split(tmp_path / "broken", "train", "skip"),
    }
    source = clip_batches(Mixture(splits, (0.5, 0.5)), batch_config(row_length=24), range(1))
    with pytest.raises(InputError, match="all records of dataset 'broken' are damaged"):
        train(source, 0, 20)
