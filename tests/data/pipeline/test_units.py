"""Units: every query with its clip, those that belong together together, each once in a pass."""

import collections
import errno
import itertools
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.pipeline.batches import Batches, fitting_rows
from data.pipeline.captions import Captions
from data.pipeline.choices import Choices
from data.pipeline.retrieval import Retrieval
from data.pipeline.units import AnnotatedSplit, Unit, UnitItems, by_clip, by_group, cut, one_by_one
from tests.data.pipeline.packing_samples import (
    batch_config,
    expected_segments,
    found_segments,
    group_of,
)
from tests.data.pipeline.stream_samples import assert_same, train
from tests.data.pipeline.unit_samples import NUM_CLIPS, SHARD, build_films, damage, raw_statements

IDS = "clips/2.0.0/train.ids.json"
FEW = settings(max_examples=6, deadline=None)
LOST = {"lost0", "lost1", "lost2"}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "films"
    build_films(folder)
    return folder


@pytest.fixture
def own(films, tmp_path):
    """A copy of the dataset that a test may change, without the list of ids."""
    folder = tmp_path / "films"
    shutil.copytree(films, folder, ignore=shutil.ignore_patterns("*.ids.json"))
    return folder


@pytest.fixture(scope="module")
def split(films):
    return AnnotatedSplit(films, "train")


def all_are_good(query):
    del query
    return ""


def named(split, units) -> list[list[str]]:
    """The ids of each unit's queries, which are about its clip."""
    statements = raw_statements()
    for unit in units:
        clip_id = split.clips.read(unit.clip).clip_id
        assert {statements[split.queries[n].query_id].clip_id for n in unit.queries} == {clip_id}
    return [[split.queries[n].query_id for n in unit.queries] for unit in units]


def known():
    return sorted(set(raw_statements()) - LOST)


@pytest.mark.parametrize("most", [1, 2, 4, 100])
@pytest.mark.parametrize("group", [one_by_one, by_clip, by_group])
def test_every_query_about_a_clip_is_in_one_unit(split, group, most):
    units, report = split.units(group, most, all_are_good)
    names = named(split, units)
    assert sorted(itertools.chain(*names)) == known()
    assert all(len(unit.queries) <= most for unit in units)
    assert report.counts == {"queries whose clip is not known": 3}
    lost = [q.query_id for q in split.queries if q.query_id in LOST]
    assert report.lines() == [f"3 queries whose clip is not known ({', '.join(lost)})"]
    # In the order of the records, within a unit and among them.
    assert all(list(unit.queries) == sorted(unit.queries) for unit in units)
    if most > NUM_CLIPS:
        firsts = [unit.queries[0] for unit in units]
        assert firsts == sorted(firsts)


def test_what_belongs_together_is_together(split):
    statements = raw_statements()
    sizes = collections.Counter(s.clip_id for name, s in statements.items() if name not in LOST)
    together = {
        one_by_one: [[name] for name in known()],
        by_clip: [[n for n in known() if statements[n].clip_id == clip] for clip in sizes],
        by_group: [
            [n for n in known() if (statements[n].group or n) == group]
            for group in dict.fromkeys(statements[n].group or n for n in known())
        ],
    }
    for group, expected in together.items():
        names = named(split, split.units(group, 100, all_are_good)[0])
        assert sorted(map(sorted, names)) == sorted(expected)
    by_most = named(split, split.units(by_clip, 2, all_are_good)[0])
    assert sorted(map(len, by_most)) == sorted(
        part for size in sizes.values() for part in [2] * (size // 2) + [1] * (size % 2)
    )


def test_a_group_is_of_one_clip(split):
    units, _ = split.units(lambda number, query: "all", 100, all_are_good)
    assert sorted(map(sorted, named(split, units))) == sorted(
        map(sorted, named(split, split.units(by_clip, 100, all_are_good)[0]))
    )


def test_queries_with_a_problem_are_left_out_and_counted(split):
    units, report = split.units(by_group, 2, lambda query: "true ones" if query.label else "")
    names = [*itertools.chain(*named(split, units))]
    assert sorted(names) == [name for name in known() if not raw_statements()[name].label]
    assert report.counts["true ones"] == len(known()) - len(names)
    assert set(report.examples["true ones"]) <= set(known()) - set(names)


def test_only_the_first_of_a_group_on_request(split):
    every = [n for unit in split.units(by_clip, 100, all_are_good)[0] for n in unit.queries]
    first = split.units(by_clip, 100, all_are_good, first_of_group=True)[0]
    kept, seen = [], set()
    for n in sorted(every):
        group = split.queries[n].group
        if not group or group not in seen:
            kept.append(n)
        seen.add(group)
    assert sorted(n for unit in first for n in unit.queries) == kept
    assert len(kept) < len(every)


@given(st.lists(st.integers(0, 99)), st.integers(-2, 12))
def test_cut_leaves_the_first_words(words, most):
    kept = cut(np.array(words, np.int32), most)
    assert len(kept) == min(len(words), max(most, 0))
    assert words[: len(kept)] == kept


def test_clips_are_found_by_the_name_that_a_query_has_for_them(split):
    for query in split.queries:
        number = split.clip_of(query)
        if query.query_id in LOST:
            assert number is None
        else:
            assert split.clips.read(number).clip_id == query.clip_id == split.clip_ids[number]


def test_the_list_of_ids_is_made_and_used(own):
    ids = AnnotatedSplit(own, "train").clip_ids
    assert sorted(ids) == [f"c{number}" for number in range(NUM_CLIPS)]
    assert json.loads((own / IDS).read_text()) == ids
    assert [path.name for path in (own / IDS).parent.glob("*.ids.json")] == ["train.ids.json"]
    other = [f"x{number}" for number in range(NUM_CLIPS)]
    (own / IDS).write_text(json.dumps(other))
    assert AnnotatedSplit(own, "train").clip_ids == other


@pytest.mark.parametrize("content", [b"[]", b'["c0"]', b"{}", b"7", b"not JSON", b"\xff"])
def test_a_list_of_ids_that_does_not_fit_is_made_again(own, split, content):
    (own / IDS).write_bytes(content)
    assert AnnotatedSplit(own, "train").clip_ids == split.clip_ids
    assert json.loads((own / IDS).read_text()) == split.clip_ids


def test_a_list_of_ids_older_than_the_clips_is_made_again(own, split):
    (own / IDS).write_text(json.dumps(["x"] * NUM_CLIPS))
    later = (own / IDS).stat().st_mtime_ns + 10**9
    os.utime(own / SHARD.format(kind="clips"), ns=(later, later))
    assert AnnotatedSplit(own, "train").clip_ids == split.clip_ids


def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(own, split, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    # As a read-only file system answers, also for files that are not there.
    for name in ("write_text", "replace", "unlink"):
        monkeypatch.setattr(pathlib.Path, name, refuse)
    assert AnnotatedSplit(own, "train").clip_ids == split.clip_ids
    assert not (own / IDS).exists()


def test_damaged_queries_are_left_out_and_counted(own, split):
    damage(own, "queries", 1, 4)
    with pytest.raises(InputError, match=r"record 1 of .*films-train"):
        AnnotatedSplit(own, "train")
    damaged = AnnotatedSplit(own, "train", "skip")
    assert [n for n, query in enumerate(damaged.queries) if query is None] == [1, 4]
    units, report = damaged.units(by_clip, 100, all_are_good)
    assert report.counts["damaged queries"] == 2
    assert report.examples["damaged queries"] == ["1", "4"]
    gone = {split.queries[n].query_id for n in (1, 4)}
    assert sorted(itertools.chain(*named(damaged, units))) == sorted(set(known()) - gone)


def test_queries_about_damaged_clips_are_left_out_and_counted(own, split):
    damage(own, "clips", 0, 2)
    with pytest.raises(InputError, match=r"record 0 of .*films-train"):
        AnnotatedSplit(own, "train")
    damaged = AnnotatedSplit(own, "train", "skip")
    assert damaged.clip_ids == [
        "" if n in (0, 2) else name for n, name in enumerate(split.clip_ids)
    ]
    # Once it is whole again the list has to be, too.
    assert not (own / IDS).exists()
    units, report = damaged.units(one_by_one, 1, all_are_good)
    gone = [query for query in split.queries if split.clip_of(query) in (None, 0, 2)]
    assert report.counts == {"queries whose clip is not known": len(gone)}
    assert len(units) == len(split.queries) - len(gone)


def test_a_split_without_queries_is_an_error(films):
    with pytest.raises(InputError, match="'test'"):
        AnnotatedSplit(films, "test")


LAYOUTS = {"choices": Choices, "captions": Captions, "retrieval": Retrieval}
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
    """The units that the clips of a group are of, as its arrays tell."""
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
def test_training_goes_on_from_a_state_and_does_not_depend_on_hosts(
    split, name, shape, seed, stop, data
):
    whole = train(unit_batches(split, name, shape), seed, stop + 2)
    first = data.draw(st.integers(0, shape["groups"]), label="groups of the first host")
    parts = [part for part in (range(first), range(first, shape["groups"])) if part]
    for part in parts:
        state = whole[stop - 1].state[part.start : part.stop]
        resumed = unit_batches(split, name, shape, part).train(seed, state, stop)
        for batch in whole[stop:]:
            own = next(resumed)
            assert_same(own.arrays, {n: x[part.start : part.stop] for n, x in batch.arrays.items()})
            np.testing.assert_array_equal(own.state, batch.state[part.start : part.stop])


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


def test_units_of_clips_that_are_damaged_later_are_skipped_and_counted(own):
    whole = AnnotatedSplit(own, "train")
    damage(own, "clips", 2)
    os.utime(own / IDS)
    split = AnnotatedSplit(own, "train", "skip")
    assert split.clip_ids == whole.clip_ids
    source = unit_batches(split, "captions", {"groups": 1, "clips_per_group": 2, "max_waiting": 1})
    batches = list(source.once(0))
    found = [unit for batch in batches for unit in units_of(batch.arrays, "captions", 0)]
    assert sorted(map(repr, found)) == sorted(repr(u) for u in source.items.units if u.clip != 2)
    assert batches[-1].counts["corrupt"] == 1


def test_rows_are_as_many_as_units_need_on_average(split):
    shape = {"groups": 1, "clips_per_group": 30, "max_waiting": 1}
    source = unit_batches(split, "choices", shape)
    rows, _ = fitting_rows(source)
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
