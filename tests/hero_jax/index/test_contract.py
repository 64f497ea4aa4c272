"""Every store keeps the promises of `hero_jax.index.protocol`."""

import dataclasses

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.index import STORES, Line, Snapshot, among, migrate, open_index, open_writer
from tests.hero_jax.index.index_samples import content, entry, make, needs, value
from tests.hero_jax.index.test_crash import plan


@pytest.fixture(params=STORES)
def path(request, tmp_path):
    needs(request.param)
    return make(tmp_path / "index", store=request.param)


def of(clip_id, seed=0, video_id="film", text=""):
    lines = (Line(0.0, 1.0, text),)
    return dataclasses.replace(entry(clip_id, seed), video_id=video_id, lines=lines)


def add(path, *entries, **named):
    with open_writer(path) as writer:
        return writer.add(entries, **named)


def test_clips_are_added_replaced_and_deleted(path):
    first, second = [of(name, 1) for name in "abc"], [of(name, 2) for name in "bd"]
    assert add(path, *first) == (3, 0)
    assert add(path, *second) == (1, 1)
    expected = {one.clip_id: value(one) for one in (*first, *second)}
    assert content(open_index(path)) == expected
    with open_writer(path) as writer:
        assert writer.delete(["a", "d"]) == 2
        expected = {one: expected[one] for one in "bc"}
        assert content(open_index(path)) == expected
        with pytest.raises(InputError, match=r"no clip 'a'.*nothing was deleted"):
            writer.delete(["b", "a"])
        assert writer.add([]) == (0, 0)
        writer.compact()
    index = open_index(path)
    assert content(index) == expected
    assert isinstance(index, Snapshot)
    index.check()


def test_outdated_clips_go_in_the_same_change(path):
    add(path, *(of(f"film#{n}", n) for n in range(4)), of("other", 7))
    added = add(path, of("film#0", 9), outdated=lambda name: name.startswith("film#"))
    assert added == (0, 4)
    assert content(open_index(path)).keys() == {"film#0", "other"}


@pytest.mark.filterwarnings("ignore:.* is being read")
def test_a_snapshot_stays_as_it_was(path):
    add(path, *(of(name, 1) for name in "abc"))
    index = open_index(path)
    before = content(index)
    assert index.is_current()
    with open_writer(path) as writer:
        writer.delete(["a"])
        assert not index.is_current()
        writer.add([of("b", 2)])
        writer.compact()
        assert content(index) == before
    assert index.text_search("", 9)[1].tolist() == []
    assert open_index(path).is_current()


def test_one_program_writes_at_a_time(path):
    with open_writer(path), pytest.raises(InputError, match="is being written to"):
        open_writer(path)
    with open_writer(path) as writer:
        pass
    with pytest.raises(ValueError, match="is closed"):
        writer.compact()


def test_a_wrong_clip_changes_nothing(path):
    add(path, of("a"))
    wrong = dataclasses.replace(of("b"), frames=np.zeros((2, 9), np.float32))
    for entries in ([of("c"), wrong], [of("c"), of("c")]):
        with open_writer(path) as writer, pytest.raises(InputError, match=r"clip '[bc]'"):
            writer.add(entries)
    assert content(open_index(path)).keys() == {"a"}


@pytest.mark.parametrize("other", STORES)
def test_an_index_is_copied_into_another_store(path, other, tmp_path):
    needs(other)
    add(path, *(entry(str(n), n) for n in range(70)))
    with open_writer(path) as writer:
        writer.delete(["3"])
    index = open_index(path)
    assert migrate(path, tmp_path / "new", other) == 69
    copied = open_index(tmp_path / "new")
    assert content(copied) == content(index)
    assert type(copied) is type(open_index(make(tmp_path / "empty", store=other)))
    for name in ("width", "dtype", "max_frames", "seconds_per_feature", "model"):
        assert getattr(copied, name) == getattr(index, name)
    with pytest.raises(InputError, match="is not empty"):
        migrate(path, tmp_path / "new", other)


def test_a_copy_that_fails_is_not_left_behind(tmp_path):
    needs("lance")
    make(tmp_path / "index", "bfloat16")
    add(tmp_path / "index", entry("a", 0))
    with pytest.raises(InputError, match="no bfloat16"):
        migrate(tmp_path / "index", tmp_path / "new", "lance")
    (file,) = (tmp_path / "index").glob("*.frames")
    file.write_bytes(b"\xff" * file.stat().st_size)
    with pytest.raises(InputError, match="its checksum does not match"):
        migrate(tmp_path / "index", tmp_path / "new", "files")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("seed", range(3))
def test_changes_give_what_a_dict_would_hold(path, seed):
    state = {}
    with open_writer(path) as writer:
        for step in range(100 * seed, 100 * seed + 8):
            method, arguments, state = plan(step, state)
            getattr(writer, method)(*arguments)
            assert content(open_index(path)) == state


def test_videos_and_folders(path):
    ids = ("season 1/07", "season 1/extra/1", "season 10/1", "film")
    add(path, *(of(f"{one}#{n}", n, one) for one in ids for n in range(2)))
    with open_writer(path) as writer:
        writer.delete(["film#0", "season 10/1#0", "season 10/1#1"])
    index = open_index(path)
    names, video_of = index.videos()
    assert names == ["film", "season 1/07", "season 1/extra/1"]
    assert {name: names[video_of[n]] for n, name in index.clip_ids()} == {
        name: name.partition("#")[0] for _, name in index.clip_ids()
    }
    assert video_of[index.num_frames() == 0].tolist() in ([], [-1] * 3)

    def kept(**filters):
        mask = among(index, **filters)
        return {name for n, name in index.clip_ids() if mask[n]}

    assert among(index) is None
    assert kept(videos=["film"]) == {"film#1"}
    for folder in ("season 1", "season 1/", "/season 1"):
        assert kept(folder=folder) == {
            f"season 1/{n}" for n in ("07#0", "07#1", "extra/1#0", "extra/1#1")
        }
    assert kept(videos=["film", "season 1/07"], folder="season 1") == {
        "season 1/07#0",
        "season 1/07#1",
    }
    assert kept(videos=[]) == set()
    with pytest.raises(InputError, match="do not include 'season 10/1'"):
        kept(videos=["season 10/1"])
    with pytest.raises(InputError, match="no video in folder 'season'"):
        kept(folder="season")


def test_what_is_said_is_found(path):
    texts = {
        "a": "the ring wants to go home",
        "b": "a home, a ring, a ring",
        "c": "go 東京",
        "d": "",
    }
    add(path, *(of(name, 0, name, text) for name, text in texts.items()))

    def found(text, count=9, **filters):
        index = open_index(path)
        names = dict(index.clip_ids())
        mask = among(index, **filters)
        scores, numbers = index.text_search(text, count, among=mask)
        assert sorted(scores, reverse=True) == scores.tolist()
        return [names[n] for n in numbers.tolist()]

    assert found("RING") == found("ring ring") == ["b", "a"]
    assert found("京") == ["c"]
    assert found("ring go", 1) == ["a"]
    assert found("ring", videos=["a", "d"]) == ["a"]
    assert found("?!") == found("nobody") == []
    add(path, of("b", 1, "b", "nobody"), of("e", 1, "e", "ring"))
    assert found("ring") == ["e", "a"]
    assert found("nobody") == ["b"]
    with open_writer(path) as writer:
        writer.delete(["e"])
        assert found("ring") == ["a"]
        writer.compact()
    assert found("ring") == ["a"]
