"""The book of an index's films: what it keeps, and that it is never believed alone."""

import dataclasses
import os
import sqlite3
from pathlib import Path

import pytest

from data.errors import InputError
from hero_jax.index import Index, Line, Writer
from hero_jax.search import book as book_module
from hero_jax.search.book import BOOK, Book, FileState, Indexed, KnownFilm, read_state
from tests.hero_jax.index.index_samples import entry, make


def film(video_id="a/film", sha256="0" * 64, **changes):
    state = FileState(12, 1_700_000_000_123_456_789, sha256)
    beside = ("film.srt", FileState(3, 4, "1" * 64))
    folder = Path(os.fsdecode(b"/films/caf\xe9"))
    one = KnownFilm(video_id, folder, f"{video_id}.mp4", 7.5, state, beside, "settings", "f", 5)
    return dataclasses.replace(one, **changes)


def test_films_are_read_back(tmp_path):
    films = [film(), film("b", subtitles=None, thumbnails=0)]
    with Book(tmp_path, to_change=True) as book:
        book.put(films)
        book.put([dataclasses.replace(films[1], duration=8.0)])
    with Book(tmp_path) as book:
        assert [*book] == [films[0], dataclasses.replace(films[1], duration=8.0)]
        assert book.get("a/film") == films[0]
        assert book.get("c") is None
        assert films[0].file == films[0].folder / "a/film.mp4"


def test_films_are_found_by_content(tmp_path):
    with Book(tmp_path, to_change=True) as book:
        book.put([film("b", "2" * 64), film("c", "3" * 64), film("a", "2" * 64)])
        assert [one.video_id for one in book.of_content("2" * 64)] == ["a", "b"]
        # Films of one content have one file of pictures.
        assert book.thumbnail_bytes() == 10
        book.remove(["a", "none"])
        assert [one.video_id for one in book.of_content("2" * 64)] == ["b"]


def test_the_book_may_change_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(book_module, "_AT_ONCE", 2)
    with Book(tmp_path, to_change=True) as book:
        book.put(film(name) for name in "abcde")
        seen = []
        for one in book:
            seen.append(one.video_id)
            book.remove([one.video_id])
        assert seen == [*"abcde"]
        assert [*book] == []


def test_an_index_without_films_has_an_empty_book(tmp_path):
    with Book(tmp_path) as book:
        assert ([*book], book.get("a"), book.thumbnail_bytes()) == ([], None, 0)
    assert [*tmp_path.iterdir()] == []
    # Its writer has made the file, and not its table yet.
    (tmp_path / BOOK).touch()
    with Book(tmp_path) as book:
        assert [*book] == []


def test_what_cannot_be_read_is_told(tmp_path):
    with Book(tmp_path, to_change=True) as book:
        book.put([film()])
    with sqlite3.connect(tmp_path / BOOK) as database:
        database.execute("UPDATE films SET subtitles = '[1'")
    database.close()
    with Book(tmp_path) as book, pytest.raises(InputError, match=r"is damaged .*: remove it"):
        book.get("a/film")
    with sqlite3.connect(tmp_path / BOOK) as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(InputError, match="format 7, and this one reads 1"):
        Book(tmp_path)
    (tmp_path / BOOK).write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"is damaged .*: remove it"):
        Book(tmp_path)


def test_a_name_of_an_index_is_no_query(tmp_path):
    folder = tmp_path / "a?mode=memory#%41"
    folder.mkdir()
    with Book(folder, to_change=True) as book:
        book.put([film()])
    assert (folder / BOOK).stat().st_size


def test_a_file_is_known_by_size_time_and_content(tmp_path):
    path = tmp_path / "film"
    path.write_bytes(b"one")
    state = read_state(path)
    assert state.is_quickly(path)
    os.utime(path, ns=(0, state.modified + 1))
    assert not state.is_quickly(path)
    assert read_state(path).sha256 == state.sha256


def fingerprint(path, *entries):
    make(path)
    with Writer(path) as writer:
        writer.add(entries)
    return Indexed(path).fingerprint("film")


def test_a_fingerprint_is_of_all_that_is_stored(tmp_path):
    """Depends on ids, videos, starts, lines and frames; not on the order, or on where they lie."""
    first, second = entry("film#0", 1, 3), entry("film#1", 2, 2)
    prints = [
        fingerprint(tmp_path / "a", first, second),
        fingerprint(tmp_path / "b", first),
        fingerprint(tmp_path / "c", first, dataclasses.replace(second, start=9.5)),
        fingerprint(tmp_path / "d", first, dataclasses.replace(second, lines=(Line(0, 1, "x"),))),
        fingerprint(tmp_path / "e", first, dataclasses.replace(second, frames=second.frames * 2)),
        fingerprint(tmp_path / "f", first, dataclasses.replace(second, video_id="other")),
        fingerprint(tmp_path / "g", first, dataclasses.replace(second, clip_id="film#2")),
    ]
    assert len({*prints}) == len(prints)
    assert "" not in prints
    assert fingerprint(tmp_path / "h", second, entry("other", 3), first) == prints[0]
    with Writer(tmp_path / "h") as writer:
        writer.delete(["other"])
        writer.compact()
    assert Indexed(tmp_path / "h").fingerprint("film") == prints[0]
    with Writer(tmp_path / "h") as writer:
        writer.delete(["film#0", "film#1"])
    assert Indexed(tmp_path / "h").fingerprint("film") == ""


def test_clips_get_the_name_of_another_video(tmp_path):
    make(tmp_path)
    with Writer(tmp_path) as writer:
        writer.add([entry("film#0", 1), entry("film#1", 2), entry("film#10", 3)])
    indexed = Indexed(tmp_path)
    with Writer(tmp_path) as writer:
        writer.add(indexed.entries("film", "new"))
    index = Index(tmp_path)
    clips = {index.describe(number).clip_id: number for number, _ in index.clip_ids()}
    assert len(clips) == 6
    for number in ("#0", "#1", "#10"):
        old, new = (index.describe(clips[name + number]) for name in ("film", "new"))
        assert dataclasses.replace(old, clip_id=new.clip_id, video_id="new") == new
        frames = index.frames([clips["film" + number], clips["new" + number]])
        assert (frames[0] == frames[1]).all()
