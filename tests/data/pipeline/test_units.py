"""Units: every query with its clip and the queries it belongs with."""

import collections
import errno
import itertools
import json
import os
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.pipeline.units import AnnotatedSplit, by_clip, by_group, cut, one_by_one
from tests.data.pipeline.unit_samples import (
    IDS,
    NUM_CLIPS,
    SHARD,
    all_are_good,
    damage,
    raw_statements,
)

LOST = {"lost0", "lost1", "lost2"}


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


def test_queries_that_belong_together_share_a_unit(split):
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


def test_the_list_of_ids_is_made_and_used(film_copy):
    ids = AnnotatedSplit(film_copy, "train").clip_ids
    assert sorted(ids) == [f"c{number}" for number in range(NUM_CLIPS)]
    assert json.loads((film_copy / IDS).read_text()) == ids
    assert [path.name for path in (film_copy / IDS).parent.glob("*.ids.json")] == ["train.ids.json"]
    other = [f"x{number}" for number in range(NUM_CLIPS)]
    (film_copy / IDS).write_text(json.dumps(other))
    assert AnnotatedSplit(film_copy, "train").clip_ids == other


@pytest.mark.parametrize("content", [b"[]", b'["c0"]', b"{}", b"7", b"not JSON", b"\xff"])
def test_a_list_of_ids_that_does_not_fit_is_made_again(film_copy, split, content):
    (film_copy / IDS).write_bytes(content)
    assert AnnotatedSplit(film_copy, "train").clip_ids == split.clip_ids
    assert json.loads((film_copy / IDS).read_text()) == split.clip_ids


def test_a_list_of_ids_older_than_the_clips_is_made_again(film_copy, split):
    (film_copy / IDS).write_text(json.dumps(["x"] * NUM_CLIPS))
    later = (film_copy / IDS).stat().st_mtime_ns + 10**9
    os.utime(film_copy / SHARD.format(kind="clips"), ns=(later, later))
    assert AnnotatedSplit(film_copy, "train").clip_ids == split.clip_ids


def test_a_leftover_of_a_system_makes_no_list_of_ids_old(film_copy):
    listed = [f"x{number}" for number in range(NUM_CLIPS)]
    (film_copy / IDS).write_text(json.dumps(listed))
    shard = film_copy / SHARD.format(kind="clips")
    leftover = shard.with_name(f"._{shard.name}")
    leftover.touch()
    later = (film_copy / IDS).stat().st_mtime_ns + 10**9
    os.utime(leftover, ns=(later, later))
    assert AnnotatedSplit(film_copy, "train").clip_ids == listed


def test_a_folder_that_cannot_be_written_to_can_be_read(film_copy, split, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    # The error of a read-only file system, also for files that do not exist.
    for name in ("write_text", "replace", "unlink"):
        monkeypatch.setattr(pathlib.Path, name, refuse)
    assert AnnotatedSplit(film_copy, "train").clip_ids == split.clip_ids
    assert not (film_copy / IDS).exists()


def test_damaged_queries_are_left_out_and_counted(film_copy, split):
    damage(film_copy, "queries", 1, 4)
    with pytest.raises(InputError, match=r"record 1 of .*films-train"):
        AnnotatedSplit(film_copy, "train")
    damaged = AnnotatedSplit(film_copy, "train", "skip")
    assert [n for n, query in enumerate(damaged.queries) if query is None] == [1, 4]
    units, report = damaged.units(by_clip, 100, all_are_good)
    assert report.counts["damaged queries"] == 2
    assert report.examples["damaged queries"] == ["1", "4"]
    gone = {split.queries[n].query_id for n in (1, 4)}
    assert sorted(itertools.chain(*named(damaged, units))) == sorted(set(known()) - gone)


def test_queries_about_damaged_clips_are_left_out_and_counted(film_copy, split):
    damage(film_copy, "clips", 0, 2)
    with pytest.raises(InputError, match=r"record 0 of .*films-train"):
        AnnotatedSplit(film_copy, "train")
    damaged = AnnotatedSplit(film_copy, "train", "skip")
    assert damaged.clip_ids == [
        "" if n in (0, 2) else name for n, name in enumerate(split.clip_ids)
    ]
    # A list with gaps would remain after the dataset is repaired.
    assert not (film_copy / IDS).exists()
    units, report = damaged.units(one_by_one, 1, all_are_good)
    gone = [query for query in split.queries if split.clip_of(query) in (None, 0, 2)]
    assert report.counts == {"queries whose clip is not known": len(gone)}
    assert len(units) == len(split.queries) - len(gone)


def test_a_split_without_queries_is_an_error(films):
    with pytest.raises(InputError, match="'test'"):
        AnnotatedSplit(films, "test")
