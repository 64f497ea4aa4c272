"""Pictures of films: how they are made, kept, and chosen for a moment."""

import dataclasses
import io
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from data.video.sampling import FilmFacts as SampledFilm
from hero_jax.search import shrinking, thumbnails
from hero_jax.search.book import Book
from hero_jax.search.found import FoundMoment
from hero_jax.search.shrinking import SIDE, SmallFrames, Thumbnails
from hero_jax.search.thumbnails import FilmPictures
from tests.hero_jax.search.test_book import film


def archive(count, seconds=3, duration=1e6):
    """Returns the pictures of a film of so many frames, of which each is brighter."""
    pictures = Thumbnails(Fraction(seconds))
    for number in range(count):
        pictures.add(np.full((9, 16, 3), number, np.uint8))
    return pictures.archive(duration)


def times(content):
    return [int(name.removesuffix(".jpg")) for name in zipfile.ZipFile(content).namelist()]


def stored(index, content, **changes):
    """Puts a film with these pictures into the book of an index."""
    one = film("film", duration=40.0, thumbnails=len(content), **changes)
    with Book(index, to_change=True) as book:
        book.put([one])
    thumbnails.write(index, one.state.sha256, content)
    return thumbnails.path_of(index, one.state.sha256)


def moment(start, end, video_id="film"):
    return FoundMoment(video_id, f"{video_id}#0", start, end, 1.0, ())


@pytest.mark.parametrize(("count", "step"), [(1, 1), (8, 1), (9, 2), (16, 2), (17, 4), (100, 16)])
def test_a_long_film_has_its_pictures_evenly_spread(monkeypatch, count, step):
    monkeypatch.setattr(shrinking, "MOST", 8)
    content = io.BytesIO(archive(count))
    assert times(content) == [3000 * n + 1500 for n in range(0, count, step)]
    brightness = [
        int(np.asarray(Image.open(io.BytesIO(zipfile.ZipFile(content).read(f"{t}.jpg")))).mean())
        for t in times(content)
    ]
    np.testing.assert_allclose(brightness, range(0, count, step), atol=2)


def test_no_picture_lies_after_the_end():
    assert times(io.BytesIO(archive(2, duration=4.2))) == [1500, 4200]
    assert archive(0) == b""


@pytest.mark.parametrize(
    ("width", "height", "small"),
    [(1920, 1080, (160, 90)), (9, 16, (90, 160)), (4000, 1, (160, 1)), (64, 64, (160, 160))],
)
def test_pictures_are_small_whatever_the_film(width, height, small):
    found = SmallFrames(Fraction(3)).picture(SampledFilm(width, height, 25, 10.0))
    assert (found.width, found.height, found.crop) == (*small, None)
    assert max(small) == SIDE


@pytest.mark.parametrize(
    ("duration", "seconds"), [(10.0, 3), (-1.0, 3), (2.5, 2.5), (1 / 3, 1 / 3), (1e-9, 0.1)]
)
def test_a_short_film_has_one_picture(duration, seconds):
    rate = SmallFrames(Fraction(3)).rate(SampledFilm(64, 48, 25, duration))
    assert float(1 / rate) == pytest.approx(seconds, abs=1e-3)
    assert rate.numerator < 2000


def test_a_moment_has_the_pictures_in_it(tmp_path):
    stored(tmp_path, archive(12))
    pictures = FilmPictures(tmp_path)
    assert [time for time, _ in pictures.of(moment(4, 8))] == [4.5, 7.5]
    assert [time for time, _ in pictures.of(moment(0, 40))] == [1.5, 10.5, 19.5, 28.5]
    # Between two pictures, the nearer one.
    assert [time for time, _ in pictures.of(moment(5, 6.5))] == [4.5]
    assert pictures.durations == {"film": 40.0}
    ((_, content),) = pictures.of(moment(4, 5))
    assert Image.open(io.BytesIO(content)).size == (16, 9)
    assert pictures.of(moment(0, 40, "unknown")) == ()


def test_pictures_that_cannot_be_read_are_none(tmp_path):
    content = archive(12)
    path = stored(tmp_path, content)
    for damaged in (b"", content[:-30], content[30:], b"\0" * 100):
        path.write_bytes(damaged)
        assert FilmPictures(tmp_path).of(moment(0, 40)) == ()
    path.unlink()
    assert FilmPictures(tmp_path).of(moment(0, 40)) == ()
    path.write_bytes(content)
    pictures = FilmPictures(tmp_path)
    assert pictures.of(moment(0, 40))
    path.unlink()
    assert pictures.of(moment(0, 40)) == ()


def test_pictures_of_no_film_are_removed(tmp_path):
    kept = stored(tmp_path, archive(2))
    stray = kept.with_name("f" * 64 + ".zip")
    stray.write_bytes(b"")
    # A film whose pictures had no room anymore, and what a kill left of another one.
    other = film("other", "2" * 64, thumbnails=0)
    thumbnails.write(tmp_path, other.state.sha256, b"")
    (kept.parent / ".0123.zip").write_bytes(b"")
    (kept.parent / "holiday.zip").write_bytes(b"")
    with Book(tmp_path, to_change=True) as book:
        book.put([other, dataclasses.replace(film("twin"), thumbnails=5)])
        thumbnails.remove_strays(tmp_path, book)
        assert {path.name for path in kept.parent.iterdir()} == {kept.name, "holiday.zip"}
        book.remove(["film"])
        thumbnails.remove_strays(tmp_path, book)
        assert kept.exists()
        book.remove(["twin"])
        thumbnails.remove_strays(tmp_path, book)
        assert not kept.exists()
