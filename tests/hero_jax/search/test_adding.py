"""Films of a folder become clips of an index: each once, whatever happens."""

import contextlib
import os
import shutil
import zipfile

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.index import Index, Writer
from hero_jax.search import adding, thumbnails
from hero_jax.search.adding import add_films
from hero_jax.search.book import Book
from hero_jax.search.engine import create_index
from hero_jax.search.reading import decode
from tests.hero_jax.inference import export_samples as samples
from tests.hero_jax.search.film_samples import reading, write_film

SUBTITLES = "1\n00:00:01,000 --> 00:00:02,500\na red circle jumps\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder of films; tests copy it."""
    folder = tmp_path_factory.mktemp("library")
    write_film(folder / "one.mp4", 1)
    write_film(folder / "two.mp4", 2, seconds=3)
    write_film(folder / "deep" / "long.mp4", 3, seconds=30)
    (folder / "one.srt").write_text(SUBTITLES)
    return folder


@pytest.fixture
def videos(library, tmp_path):
    return shutil.copytree(library, tmp_path / "videos")


@pytest.fixture
def index(tmp_path):
    create_index(samples.model(), tmp_path / "index")
    return tmp_path / "index"


def add(videos, index, **options):
    """Returns numbers of films (added, replaced, renamed, unchanged, dropped), and the report."""
    how = options.pop("how", {})
    done = add_films(samples.model(), videos, index, reading(**how), **options)
    numbers = done.added, done.replaced, done.renamed, done.unchanged, done.dropped
    return numbers, done.report.counts


def content(path):
    """Everything in an index by the ids of its clips."""
    index = Index(path)
    return {name: (index.describe(n), index.frames([n]).tobytes()) for n, name in index.clip_ids()}


def pictures(index):
    return {path.stem for path in (index / thumbnails.FOLDER).iterdir()}


def test_films_are_added_once(videos, index):
    assert add(videos, index) == ((3, 0, 0, 0, 0), {})
    first = content(index)
    # 30 seconds are 20 rows, which windows of 9 cover.
    windows = [f"deep/long#{number}" for number in range(4)]
    assert [*first] == [*windows, "one", "two"]
    assert [line.text for line in first["one"][0].lines] == ["a red circle jumps"]
    assert add(videos, index) == ((0, 0, 0, 3, 0), {})
    assert content(index) == first


def test_windows_are_those_of_the_whole_film(videos, index):
    """As from the features of the film: nothing is cut at the border of a clip."""
    add(videos, index)
    index = Index(index)
    clips = [index.describe(number) for number, name in index.clip_ids() if "long" in name]
    assert [clip.start for clip in clips] == [0, 6, 12, 16.5]
    assert {clip.num_frames for clip in clips} == {samples.tiny.MAX_FRAMES}


def test_a_film_is_done_again_if_its_content_changed(videos, index):
    add(videos, index)
    first = content(index)
    write_film(videos / "deep" / "long.mp4", 4, seconds=4)
    os.utime(videos / "two.mp4", ns=(0, 0))
    assert add(videos, index) == ((0, 1, 0, 2, 0), {})
    second = content(index)
    assert [*second] == ["one", "two", "deep/long"]
    assert second["one"] == first["one"]
    # Equal size and time, which are looked at first, are no equal content.
    (videos / "one.srt").write_text(SUBTITLES.replace("red", "tan"))
    assert add(videos, index)[0] == (0, 1, 0, 2, 0)
    assert [line.text for line in content(index)["one"][0].lines] == ["a tan circle jumps"]
    (videos / "one.srt").unlink()
    assert add(videos, index)[0] == (0, 1, 0, 2, 0)
    assert content(index)["one"][0].lines == ()
    assert add(videos, index, how={"even_sampling": True})[0] == (0, 3, 0, 0, 0)


def test_a_film_with_a_new_name_is_not_decoded_again(videos, index, monkeypatch):
    add(videos, index)
    first = content(index)
    (videos / "deep" / "long.mp4").rename(videos / "new.mp4")
    shutil.copy(videos / "two.mp4", videos / "three.mp4")
    monkeypatch.setattr(adding, "decode", None)
    assert add(videos, index) == ((0, 0, 2, 2, 0), {})
    second = content(index)
    assert sorted(second) == [*(f"new#{n}" for n in range(4)), "one", "three", "two"]
    for number in range(4):
        assert second[f"new#{number}"][1] == first[f"deep/long#{number}"][1]
        assert second[f"new#{number}"][0].video_id == "new"
    assert second["three"][1] == second["two"][1]
    assert len(pictures(index)) == 3
    assert add(videos, index)[0] == (0, 0, 0, 4, 0)


def test_two_films_that_change_names_are_done_right(videos, index):
    add(videos, index)
    first = content(index)
    (videos / "one.srt").unlink()
    add(videos, index)
    (videos / "one.mp4").rename(videos / "x")
    (videos / "two.mp4").rename(videos / "one.mp4")
    (videos / "x").rename(videos / "two.mp4")
    add(videos, index)
    second = content(index)
    assert second["one"][1] == first["two"][1]
    assert second["two"][1] != first["two"][1]
    assert add(videos, index)[0] == (0, 0, 0, 3, 0)


def test_a_folder_may_move(videos, index, tmp_path, monkeypatch):
    add(videos, index)
    (tmp_path / "above").mkdir()
    moved = videos.rename(tmp_path / "above" / "moved")
    monkeypatch.setattr(adding, "decode", None)
    assert add(moved, index) == ((0, 0, 0, 3, 0), {})
    with Book(index) as book:
        assert {film.folder for film in book} == {moved}
    # In a folder above, films have longer names.
    assert add(tmp_path / "above", index) == ((0, 0, 3, 0, 0), {})
    assert {film.split("/")[0] for film in content(index)} == {"moved"}


def test_removed_films_stay_unless_they_are_dropped(videos, index, tmp_path):
    add(videos, index)
    other = tmp_path / "other"
    write_film(other / "four.mp4", 7)
    assert add(other, index, drop_removed=True)[0] == (1, 0, 0, 0, 0)
    shutil.rmtree(videos / "deep")
    assert add(videos, index) == ((0, 0, 0, 2, 0), {adding.GONE: 1})
    assert len(content(index)) == 7
    assert add(videos, index, drop_removed=True) == ((0, 0, 0, 2, 1), {})
    assert [*content(index)] == ["one", "two", "four"]
    assert len(pictures(index)) == 3
    assert add(videos, index) == ((0, 0, 0, 2, 0), {})


def test_films_that_were_deleted_or_replaced_otherwise_are_never_skipped(videos, index):
    add(videos, index)
    first = content(index)
    clip = samples.model().clip("one", np.ones((3, 6), np.float32))
    with Writer(index) as writer:
        writer.delete(["deep/long#2", "two"])
        writer.add(samples.model().encode_clips([clip]))
    assert add(videos, index)[0] == (3, 0, 0, 0, 0)
    assert content(index) == first
    # A clip of a dataset that has taken a film's name is not dropped with the film.
    with Writer(index) as writer:
        writer.add(samples.model().encode_clips([clip]))
    (videos / "one.mp4").unlink()
    assert add(videos, index, drop_removed=True) == ((0, 0, 0, 2, 0), {})
    assert "one" in content(index)


def test_films_that_cannot_be_used_are_listed(videos, index):
    add(videos, index)
    first = content(index)
    (videos / "one.mp4").write_bytes(b"")
    (videos / "text.mp4").write_text(SUBTITLES)
    (videos / "gone.mp4").symlink_to("nowhere.mp4")
    numbers, counts = add(videos, index)
    assert numbers == (0, 0, 0, 2, 0)
    assert counts == {adding.AS_BEFORE: 1, adding.LEFT_OUT: 2}
    assert content(index) == first


def test_a_film_that_changes_while_it_is_read_is_left_out(videos, index, monkeypatch):
    def decode_and_write(model, film, *others):
        decoded = decode(model, film, *others)
        with film.path.open("ab") as file:
            file.write(b"more")
        return decoded

    monkeypatch.setattr(adding, "decode", decode_and_write)
    assert add(videos, index) == ((0, 0, 0, 0, 0), {adding.LEFT_OUT: 3})
    assert content(index) == {}


def test_films_of_two_folders_do_not_replace_each_other(videos, index, tmp_path):
    other = tmp_path / "other"
    write_film(other / "one.mp4", 9)
    shutil.copy(videos / "two.mp4", other / "two.mp4")
    add(videos, index)
    first = content(index)
    assert add(other, index) == ((0, 0, 0, 1, 0), {adding.TAKEN: 1})
    assert content(index) == first
    # Without the film of this name in the one folder, that of the other takes its place.
    (videos / "one.mp4").unlink()
    assert add(other, index) == ((0, 1, 0, 1, 0), {})
    assert content(index)["one"] != first["one"]


def test_pictures_are_bounded(videos, index):
    add(videos, index, how={"thumbnail_bytes": 4000})
    with Book(index) as book:
        sizes = [film.thumbnails for film in book]
        assert sum(sizes) == book.thumbnail_bytes() <= 4000
        assert 0 in sizes
        assert any(sizes)
    assert len(pictures(index)) == sum(map(bool, sizes))


def test_pictures_of_a_film(videos, index):
    add(videos, index)
    with Book(index) as book:
        film = book.get("deep/long")
    with zipfile.ZipFile(thumbnails.path_of(index, film.state.sha256)) as archive:
        assert archive.namelist() == [f"{n}.jpg" for n in range(1500, 30_000, 3000)]
    assert film.duration == pytest.approx(30)


def test_what_a_kill_leaves_is_removed(videos, index):
    add(videos, index)
    folder = index / thumbnails.FOLDER
    for name in ("f" * 64 + ".zip", ".0123.zip"):
        (folder / name).write_bytes(b"")
    (folder / "mine.txt").write_text("")
    add(videos, index)
    assert len(pictures(index)) == 4
    assert (folder / "mine.txt").exists()


def test_a_file_that_breaks_off_while_it_is_read_is_named_with_its_film(videos, index):
    (videos / "one.srt").unlink()
    # It can be opened, and gives an error when it is read.
    (videos / "one.srt").symlink_to("/proc/self/mem")
    done = add_films(samples.model(), videos, index, reading())
    assert done.added == 2
    (said,) = done.report.examples[adding.LEFT_OUT]
    assert said == f"{videos / 'one.mp4'} cannot be read (Input/output error)"


def test_another_model_or_writer_is_refused(videos, index, tmp_path):
    other = samples.Model(samples.source(max_frames=8))
    with pytest.raises(InputError, match="another model"):
        add_films(other, videos, index, reading())
    with Writer(index), pytest.raises(InputError, match="being written to by process"):
        add(videos, index)
    assert not (index / "films.sqlite").exists()


# Where a run may end: after any of these.
STEPS = [(thumbnails, "write"), (Writer, "add"), (Book, "put"), (Writer, "delete")]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
def test_a_run_that_is_stopped_is_completed_by_the_next(videos, index, monkeypatch, step):
    monkeypatch.setattr(adding, "LONGEST_WAIT", 0)
    write_film(videos / "gone.mp4", 5)
    add(videos, index)
    (videos / "gone.mp4").unlink()
    (videos / "two.mp4").rename(videos / "three.mp4")
    write_film(videos / "one.mp4", 6)
    write_film(videos / "four.mp4", 7)
    expected = shutil.copytree(index, index.with_name("expected"))
    add(videos, expected, drop_removed=True)
    owner, name = step
    method = getattr(owner, name)

    def stopped(*arguments, **options):
        method(*arguments, **options)
        raise KeyboardInterrupt

    before = content(index)
    while True:
        with monkeypatch.context() as patches:
            patches.setattr(owner, name, stopped)
            with contextlib.suppress(KeyboardInterrupt):
                add(videos, index, drop_removed=True)
            # What was there and still is has not been lost.
            assert content(index)["deep/long#0"] == before["deep/long#0"]
        if add(videos, index, drop_removed=True)[0] == (0, 0, 0, 4, 0):
            break
    assert content(index) == content(expected)
    assert pictures(index) == pictures(expected)
