"""The store lance: damage that Lance does not notice, its indexes, and the room that it takes."""

import dataclasses
import sys

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.index import Entry, Line, among, create, open_index, open_writer
from tests.hero_jax.index.index_samples import MODEL, content, entry, make, needs
from tests.hero_jax.index.test_words import said

needs("lance")
from hero_jax.index import lance_index, lance_store, lance_table  # noqa: E402 - skipped without it

TABLE = "clips.lance"


@pytest.fixture
def path(tmp_path):
    return make(tmp_path / "index", store="lance")


def add(path, *entries):
    with open_writer(path) as writer:
        writer.add(entries)


def newest(path):
    return min((path / TABLE / "_versions").glob("*.manifest"))


def test_an_empty_newest_manifest_is_set_aside(path):
    add(path, entry("a", 0))
    before = content(open_index(path))
    known = newest(path)
    with open_writer(path) as writer:
        writer.delete(["a"])
    assert newest(path) != known
    newest(path).write_bytes(b"")
    assert content(open_index(path)) == before
    assert newest(path) == known
    add(path, entry("b", 1))
    assert content(open_index(path)).keys() == {"a", "b"}


@pytest.mark.parametrize("part", ["frames", "text", "norms"])
def test_a_flipped_bit_is_found_when_it_is_read(path, part):
    one = dataclasses.replace(entry("a", 3, 4), lines=(Line(0.0, 1.0, "unmistakable" * 9),))
    add(path, one, entry("b", 4))
    raw = {
        "frames": one.frames.astype(np.float16).tobytes(),
        "text": b"unmistakable",
        "norms": lance_table.norms_of(one.frames.astype(np.float16)).tobytes(),
    }[part]
    (file,) = (path / TABLE / "data").iterdir()
    stored = bytearray(file.read_bytes())
    place = stored.find(raw)
    while place >= 0:
        stored[place + 1] ^= 0x10
        place = stored.find(raw, place + 1)
    assert bytes(stored) != file.read_bytes()
    file.write_bytes(stored)
    index = open_index(path)
    for read in (lambda: content(index), index.check):
        with pytest.raises(
            InputError, match=r"clips.lance is damaged \(the checksum of .* not match"
        ):
            read()
    assert index.describe(1).clip_id == "b"


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_cut_file_is_told(path, size):
    add(path, *(entry(str(n), n) for n in range(9)))
    (file,) = (path / TABLE / "data").iterdir()
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match=r"clips.lance is damaged \(it cannot be read"):
        content(open_index(path))


def test_a_table_of_another_version_or_program_is_refused(path, monkeypatch):
    monkeypatch.setattr(lance_table, "VERSION", 2)
    with pytest.raises(
        InputError, match=r"version 1 of the format, and this program reads version 2"
    ):
        open_index(path)
    with pytest.raises(InputError, match="version 1 of the format"):
        open_writer(path)


def test_what_lance_cannot_store_or_what_is_missing_is_told(tmp_path, path, monkeypatch):
    with pytest.raises(InputError, match="lance has no bfloat16: choose one of float16, float32"):
        make(tmp_path / "new", "bfloat16", store="lance")
    assert not (tmp_path / "new").exists()
    monkeypatch.delitem(sys.modules, "hero_jax.index.lance_store")
    monkeypatch.setitem(sys.modules, "lance", None)
    monkeypatch.delitem(sys.modules, "hero_jax.index.lance_index")
    monkeypatch.delattr("hero_jax.index.lance_store", raising=False)
    with pytest.raises(InputError, match=r"package lance, which is missing.*requirements-lance"):
        open_index(path)


def test_a_failed_change_leaves_no_files(path):
    add(path, entry("a", 0))
    before = lance_table.files_of(path / TABLE)

    def broken():
        yield from (entry(str(n), n) for n in range(100))
        raise OSError("features are gone")

    with open_writer(path) as writer, pytest.raises(OSError, match=r"^features are gone$"):
        writer.add(broken())
    assert lance_table.files_of(path / TABLE) == before


@pytest.mark.parametrize("is_made", [False, True])
def test_no_room_for_a_new_version(path, monkeypatch, is_made):
    add(path, entry("a", 0))
    commit, full = lance_store.lance.LanceDataset.commit, OSError("No space left on device")

    def fail(*arguments, **named):
        if is_made:
            monkeypatch.setattr(lance_store, "sync_files", fail_always)
            return commit(*arguments, **named)
        raise full

    def fail_always(*_, **__):
        raise full

    monkeypatch.setattr(lance_store.lance.LanceDataset, "commit", fail)
    before = lance_table.files_of(path / TABLE)
    said = "the change is made, but would be lost" if is_made else "the index is as it was"
    with open_writer(path) as writer, pytest.raises(InputError, match=f"No space left.*: {said}"):
        writer.delete(["a"])
    assert content(open_index(path)).keys() == (set() if is_made else {"a"})
    assert is_made or lance_table.files_of(path / TABLE) == before


def test_room_is_freed_once_nobody_reads(path):
    for n in range(5):
        add(path, *(entry(f"{n}#{k}", k) for k in range(20)))
    index = open_index(path)
    before, size = content(index), len(lance_table.files_of(path / TABLE))
    with open_writer(path) as writer:
        writer.delete([f"{n}#{k}" for n in range(4) for k in range(20)])
        with pytest.warns(
            UserWarning, match="is being read: the room of earlier versions is freed"
        ):
            writer.compact()
        assert content(index) == before
        del index
        writer.compact()
    assert len(lance_table.files_of(path / TABLE)) < size
    assert len([*(path / TABLE / "data").iterdir()]) == 1
    assert content(open_index(path)).keys() == {f"4#{k}" for k in range(20)}


def test_words_weigh_as_in_files(tmp_path, path):
    texts = [
        "the ring wants to go",
        "a ring, a ring",
        "",
        "go 東京 it's",
        "nobody",
        "ring ring the",
    ]
    entries = [said(str(n), text, f"film {n}") for n, text in enumerate(texts)]
    other = make(tmp_path / "files")
    for one in (path, other):
        with open_writer(one) as writer:
            writer.add([*entries, said("gone", "a ring of nobody")])
            writer.delete(["gone"])
            writer.compact()
    for query in ("ring", "the ring GO", "nobody's 京", "東", "a a a"):
        scores, numbers = open_index(path).text_search(query, 9)
        expected, same = open_index(other).text_search(query, 9)
        np.testing.assert_array_equal(numbers, same)
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.fixture
def vectors(tmp_path, monkeypatch):
    """An index of 600 clips of 3 frames with an index of vectors, and the frames."""
    monkeypatch.setattr(lance_store, "INDEXED_FROM", 500)
    monkeypatch.setattr(lance_store, "PARTITION", 100)
    frames = np.random.default_rng(0).standard_normal((600, 3, 64)).astype(np.float16)
    named = {"width": 64, "dtype": "float16", "max_frames": 3, "seconds_per_feature": 1.5}
    create(tmp_path / "vectors", **named, model=MODEL, store="lance")
    for part in range(2):
        numbers = range(300 * part, 300 * part + 300)
        add(
            tmp_path / "vectors",
            *(Entry(str(n), f"{n % 2}/{n}", 0.0, frames[n], ()) for n in numbers),
        )
    return tmp_path / "vectors", frames


def near(frames, n):
    """A query beside the middle frame of a clip."""
    noise = np.random.default_rng(n).standard_normal(frames.shape[-1])
    return (frames[n, 1] + 0.2 * noise).astype(np.float32)


def test_vectors_are_found_by_their_index(vectors, monkeypatch):
    path, frames = vectors
    monkeypatch.setattr(lance_index, "NARROW", 20)
    index = open_index(path)
    for n in range(0, 600, 50):
        found = index.candidates(near(frames, n), 10)
        assert n in found
        assert 10 <= len(found) < 600
        kept = among(index, folder=str(n % 2))
        found = index.candidates(near(frames, n), 10, among=kept)
        assert n in found
        assert kept[found].all()
    few = among(index, videos=["1/1", "1/3"])
    assert index.candidates(near(frames, 0), 10, among=few).tolist() == [1, 3]


def test_changed_vectors_are_found_too(vectors):
    path, frames = vectors
    new = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float16)
    add(path, Entry("0", "0/0", 0.0, new, ()), Entry("new", "new", 0.0, new, ()))
    with open_writer(path) as writer:
        writer.delete(["50"])
        for _ in range(2):
            index = open_index(path)
            names = dict(index.clip_ids())
            found = [names[n] for n in index.candidates(new[1].astype(np.float32), 10).tolist()]
            assert {"0", "new"} <= set(found)
            for gone in (0, 50):
                assert "50" not in [names[n] for n in index.candidates(near(frames, gone), 10)]
            del index
            writer.compact()


def test_many_changes_are_joined(path, monkeypatch):
    monkeypatch.setattr(lance_store, "MAX_PARTS", 3)
    for n in range(5):
        add(path, said(str(n), f"ring {n}"))
    with open_writer(path) as writer:
        writer.compact()
    table, _ = lance_table.open_table(path)
    assert lance_store._parts(table) == {"words": 1}
    assert len(table.get_fragments()) == 1
    index = open_index(path)
    assert index.text_search("ring", 9)[1].tolist() == [0, 1, 2, 3, 4]
    assert index.describe(index.text_search("3", 9)[1][0]).clip_id == "3"


def test_few_clips_are_all_scored(path):
    add(path, *(entry(str(n), n) for n in range(20)))
    assert open_index(path).candidates(np.ones(3, np.float32), 5) is None
