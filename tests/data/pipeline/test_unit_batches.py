"""Batches of units: each unit once in a pass, whatever the groups and hosts."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.pipeline.batches import Batches, fitting_rows
from data.pipeline.captions import Captions
from data.pipeline.choices import Choices
from data.pipeline.retrieval import Retrieval, WindowRetrieval
from data.pipeline.units import AnnotatedSplit, Unit, UnitItems
from tests.data.pipeline.packing_samples import (
    batch_config,
    expected_segments,
    found_segments,
    group_of,
)
from tests.data.pipeline.stream_samples import assert_same, train
from tests.data.pipeline.unit_samples import IDS, all_are_good, damage

FEW = settings(max_examples=6, deadline=None)
LAYOUTS = {
    "choices": Choices,
    "captions": Captions,
    "retrieval": Retrieval,
    "windows": WindowRetrieval,
}
SHAPES = st.fixed_dictionaries(
    {
        "groups": st.integers(1, 3),
        "clips_per_group": st.integers(1, 4),
        "max_waiting": st.integers(1, 3),
    }
)


def unit_batches(split, name, shape, local=None):
    """Batches of a layout, of all groups or the `local` ones; queries of any length are taken."""
    config = batch_config(
        **shape, choices=2, row_length=24, rows_per_group=6, query_rows_per_group=2
    )
    layout = LAYOUTS[name](config, split.metadata)
    units, _ = split.units(layout.group, layout.most, all_are_good)
    items = UnitItems(split, units, layout.prepare)
    return Batches(layout, items, range(config.groups) if local is None else local)


def units_of(arrays, name, group) -> list[Unit]:
    """The units in a group, read back from its arrays."""
    found = []
    group = group_of(arrays, group)
    for place in np.flatnonzero(group["num_frames"]):
        if name == "choices":
            numbers = group["query_numbers"][place][group["choice_mask"][place]]
        else:
            numbers = group["query_numbers"][group["query_mask"] & (group["query_clip"] == place)]
        found.append(Unit(int(group["clip_numbers"][place]), tuple(numbers.tolist())))
    return found


@pytest.mark.parametrize("name", ["choices", "captions"])
@FEW
@given(shape=SHAPES)
def test_one_pass_has_every_unit_once_whatever_the_groups_and_hosts(split, name, shape):
    whole = unit_batches(split, name, shape)
    expected = sorted(map(repr, whole.items.units))
    assert len(whole) == len(expected)
    hosts = [unit_batches(split, name, shape, [group]) for group in range(shape["groups"])]
    for sources in ([whole], hosts):
        found = [
            unit
            for source in sources
            for batch in source.once(0)
            for group in range(len(source.groups))
            for unit in units_of(batch.arrays, name, group)
        ]
        assert sorted(map(repr, found)) == expected


def test_one_pass_has_every_query_of_retrieval_once_with_its_clip(split):
    source = unit_batches(split, "retrieval", {"groups": 2, "clips_per_group": 3, "max_waiting": 2})
    found = []
    for batch in source.once(0):
        for g in range(2):
            group = group_of(batch.arrays, g)
            for n in np.flatnonzero(group["query_mask"]):
                clip = int(group["clip_numbers"][group["query_clip"][n]])
                words = group["query_token_ids"][group["query_index"] == n].tolist()
                found.append((clip, words, group["query_spans"][n].tolist()))
    most = source.config.max_query_tokens
    expected = []
    for unit in source.items.units:
        query = split.queries[unit.queries[0]]
        frames = min(len(split.clips.read(unit.clip).frame_features), source.config.max_frames)
        k = int(query.query_id[-1])
        # Moments are of seconds k to k + 4.
        first = min(k * 2 // 3, frames - 1)
        last = min(max(-(-(k + 4) * 2 // 3) - 1, first + 1), frames - 1)
        words = [split.metadata.special_ids.cls, *query.token_ids[:most].tolist()]
        expected.append((unit.clip, words, [first, last]))
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("name", list(LAYOUTS))
@FEW
@given(shape=SHAPES, seed=st.integers(0, 2**32), stop=st.integers(1, 4), data=st.data())
def test_training_resumes_from_a_state_and_does_not_depend_on_hosts(
    split, name, shape, seed, stop, data
):
    whole = train(unit_batches(split, name, shape), seed, stop + 2)
    first = data.draw(st.integers(0, shape["groups"]), label="groups of the first host")
    parts = [part for part in (range(first), range(first, shape["groups"])) if part]
    for part in parts:
        state = whole[stop - 1].state[part.start : part.stop]
        resumed = unit_batches(split, name, shape, part).train(seed, state, stop)
        for batch in whole[stop:]:
            batch_of_host = next(resumed)
            assert_same(
                batch_of_host.arrays,
                {n: x[part.start : part.stop] for n, x in batch.arrays.items()},
            )
            np.testing.assert_array_equal(batch_of_host.state, batch.state[part.start : part.stop])


def test_training_takes_all_units_in_an_order_of_the_seed_before_it_repeats_one(split):
    shape = {"groups": 1, "clips_per_group": 1, "max_waiting": 1}
    source = unit_batches(split, "choices", shape)
    walks = [
        [repr(*units_of(b.arrays, "choices", 0)) for b in train(source, seed, 2 * len(source))]
        for seed in (0, 1)
    ]
    for walk in walks:
        epochs = walk[: len(source)], walk[len(source) :]
        for epoch in epochs:
            assert sorted(epoch) == sorted(map(repr, source.items.units))
        assert epochs[0] != epochs[1]
    assert walks[0] != walks[1]


def test_clips_of_units_are_those_of_their_records(split):
    shape = {"groups": 1, "clips_per_group": 4, "max_waiting": 2}
    source = unit_batches(split, "captions", shape)
    for batch in source.once(0):
        group = group_of(batch.arrays)
        for place in np.flatnonzero(group["num_frames"]):
            clip = split.clips.read(int(group["clip_numbers"][place]))
            expected = expected_segments(clip, source.config, framed=True)
            found = found_segments(group, place, source.config)
            assert [(frames, [token for _, token in words]) for frames, words in found] == [
                (frames, [token for _, token in words]) for frames, words in expected
            ]
        assert batch.counts["clips/films"] == batch.counts["clips"]


def test_a_batch_of_nothing_has_the_shapes_of_others(split):
    for name in LAYOUTS:
        source = unit_batches(split, name, {"groups": 2, "clips_per_group": 2, "max_waiting": 1})
        empty, full = source.empty().arrays, next(source.once(0)).arrays
        assert {n: (x.shape, x.dtype) for n, x in empty.items()} == {
            n: (x.shape, x.dtype) for n, x in full.items()
        }
        assert not empty["num_frames"].any()


def test_units_of_clips_that_are_damaged_later_are_skipped_and_counted(film_copy):
    whole = AnnotatedSplit(film_copy, "train")
    damage(film_copy, "clips", 2)
    os.utime(film_copy / IDS)
    split = AnnotatedSplit(film_copy, "train", "skip")
    assert split.clip_ids == whole.clip_ids
    source = unit_batches(split, "captions", {"groups": 1, "clips_per_group": 2, "max_waiting": 1})
    batches = list(source.once(0))
    found = [unit for batch in batches for unit in units_of(batch.arrays, "captions", 0)]
    assert sorted(map(repr, found)) == sorted(repr(u) for u in source.items.units if u.clip != 2)
    assert batches[-1].counts["corrupt"] == 1


def test_rows_are_as_many_as_units_need_on_average(split):
    shape = {"groups": 1, "clips_per_group": 30, "max_waiting": 1}
    source = unit_batches(split, "choices", shape)
    rows, _, _ = fitting_rows(source)
    slots = np.mean([source.items.prepare(n).lengths.sum() for n in range(len(source))])
    assert rows == round(30 * slots / source.config.row_length)
    source = unit_batches(split, "retrieval", shape)
    most = source.config.max_query_tokens
    asked = [query for query in split.queries if split.clip_of(query) is not None]
    words = [min(len(query.token_ids), most) + 1 for query in asked]
    assert fitting_rows(source)[1] == np.ceil(1.1 * 30 * np.mean(words) / source.config.row_length)


def test_rows_for_nothing_are_an_error(split):
    source = unit_batches(split, "choices", {"groups": 1, "clips_per_group": 1, "max_waiting": 1})
    nothing = Batches(source.layout, UnitItems(split, [], source.layout.prepare), range(1))
    with pytest.raises(InputError, match="'films' has nothing to pack"):
        fitting_rows(nothing)
    assert list(nothing.once(0)) == []
