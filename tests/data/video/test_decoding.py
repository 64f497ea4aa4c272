"""Frames of films of any kind, and what is said of those that are odd."""

import json
import math
import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.video.decoding import Video
from data.video.sampling import ClipSampling, FrameSampling
from tests.data.video.film_samples import grey_frames, grey_numbers, quarters, write_film
from tests.data.video.test_sampling import frames_in_lists
from tests.golden import extractors

ROW = Fraction(3, 2)
BOTH = (FrameSampling(ROW, crop=False), ClipSampling(ROW))


def read(path, samplings=BOTH, **limit):
    """Returns the rows of each sampling and the warnings."""
    with Video(path, **limit) as film:
        rows = [[] for _ in samplings]
        for number, row in film.rows(samplings):
            rows[number].append(row)
        return rows, film.warnings


def shown(times, end, rate):
    """Returns the frames that a film has at a rate: the last with round(time * rate) <= n for n."""

    def half_away(number):
        return math.floor(number + Fraction(1, 2))

    places = [half_away(time * rate) for time in times]
    numbers = range(half_away(end * rate))
    return [max([i for i, place in enumerate(places) if place <= n], default=0) for n in numbers]


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([Fraction(5), Fraction(24000, 1001), Fraction(25), Fraction(30), Fraction(50)]),
    st.integers(1, 90),
    st.sampled_from(["1", "3/2", "2", "1/2", "4/3"]),
)
@example(Fraction(24), 90, "3/2")
@example(Fraction(1, 2), 4, "3/2")
def test_rows_are_those_of_a_list_of_all_frames(tmp_path_factory, rate, num_frames, seconds):
    path = tmp_path_factory.mktemp("films") / "film.mkv"
    write_film(path, grey_frames(num_frames), rate)
    samplings = FrameSampling(Fraction(seconds), crop=True), ClipSampling(Fraction(seconds))
    (frames, clips), _ = read(path, samplings)
    # The container has milliseconds.
    times = [Fraction(round(1000 * n / rate), 1000) for n in range(num_frames)]
    end = times[-1] + Fraction(math.floor(1000 / rate), 1000)
    assert [*map(grey_numbers, frames)] == shown(times, end, 1 / Fraction(seconds))
    at_thirty = shown(times, end, Fraction(30))
    cut = frames_in_lists(seconds, len(at_thirty), int(rate), -1.0) if at_thirty else []
    assert [grey_numbers(c).tolist() for c in clips] == [[at_thirty[i] for i in c] for c in cut]


# The last is longer than the others together.
FILMS = ["ai_explained.webm", "his_girl_friday.mp4", "nasa_13013.mp4"]
FILMS += [pytest.param("tears_of_steel.webm", marks=pytest.mark.slow)]


@pytest.mark.shared
@pytest.mark.parametrize("film", FILMS)
def test_frames_are_those_of_the_command_line(tmp_path, film):
    shared = Path(os.environ["HERO_SHARED"])
    cases = json.loads((shared / "extractors" / "frames.json").read_text())
    of_film = {name: case for name, case in cases.items() if name.startswith(f"{film}/")}
    (tmp_path / "frames.json").write_text(json.dumps(of_film))
    report = extractors.Report()
    extractors.report_frames(tmp_path / "frames.json", shared / "videos", report)
    assert len(of_film) == 4
    assert not report.failed


def test_facts_of_films(tmp_path):
    grey = {"pixels": "yuv420p", "codec": "libx264"}
    with Video(write_film(tmp_path / "a.mp4", grey_frames(61), Fraction(30000, 1001), **grey)) as a:
        assert (a.width, a.height, a.source_rate) == (32, 24, 29)
        # 2.035366... seconds, in microseconds.
        assert a.duration == 2.035367
        assert a.seconds == pytest.approx(61 * 1001 / 30000)
    with Video(write_film(tmp_path / "a.ts", grey_frames(60), **grey)) as c:
        assert (c.duration, c.seconds) == (-1.0, 2.4)
    with Video(write_film(tmp_path / "b.mkv", grey_frames(60))) as b:
        assert (b.duration, b.seconds) == (-1.0, 2.4)
        assert len(list(b.rows(BOTH))) == 4
        with pytest.raises(ValueError, match="was read before"):
            list(b.rows(BOTH))


def test_frames_of_a_format_that_cannot_be_scaled_are_refused(tmp_path):
    with av.open(str(tmp_path / "a.nut"), "w") as container:
        stream = container.add_stream("rawvideo", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "rgb4"
        for number in range(20):
            frame = av.VideoFrame(32, 24, "rgb4")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"a\.nut: its frames \(rgb4\) cannot be scaled \("):
        read(tmp_path / "a.nut")


@pytest.mark.parametrize(
    ("rotation", "corners"),
    [
        (90, ["green", "white", "red", "blue"]),
        (180, ["white", "blue", "green", "red"]),
        (270, ["blue", "red", "white", "green"]),
    ],
)
def test_turned_films_are_upright(tmp_path, rotation, corners):
    film = np.stack([quarters()] * 25)
    write_film(tmp_path / "a.mp4", film, codec="libx264", pixels="yuv444p", rotation=rotation)
    with Video(tmp_path / "a.mp4") as video:
        assert (video.width, video.height) == ((32, 24) if rotation == 180 else (24, 32))
        [(_, row), *_] = video.rows((FrameSampling(Fraction(1, 2), crop=False),))
    colours = {"red": [255, 0, 0], "green": [0, 255, 0], "blue": [0, 0, 255], "white": [255] * 3}
    found = [row[y, x] for y in (20, -20) for x in (20, -20)]
    np.testing.assert_allclose(found, [colours[name] for name in corners], atol=3)
    assert row.shape == ((224, 298, 3) if rotation == 180 else (298, 224, 3))


def test_a_picture_that_begins_after_the_sound_is_shown_from_the_start(tmp_path):
    times = [3200 + 40 * n for n in range(100)]
    path = write_film(tmp_path / "a.mkv", grey_frames(100), times=times, sound=7.2)
    (frames, clips), warnings = read(path)
    # The first frame at 2/3 a second is the last that is rounded to row 2, and fills the others.
    assert [*map(grey_numbers, frames)] == [13, 13, 13, 51, 88]
    assert grey_numbers(clips[0]).tolist() == [0] * 32
    assert not warnings


def test_a_film_that_starts_late_starts_at_its_start(tmp_path):
    """Times of a container that do not begin at 0 give the same rows."""
    grey = grey_frames(100)
    plain = write_film(tmp_path / "a.mkv", grey)
    late = write_film(tmp_path / "b.mkv", grey, options={"output_ts_offset": "7.03"})
    with Video(late) as film:
        assert film._start == 7030
    for ours, theirs in zip(read(late)[0], read(plain)[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_start_is_rounded_to_the_first_frame(tmp_path):
    """Containers state it in microseconds, and their frames in other units."""
    film = {"codec": "libx264", "pixels": "yuv420p", "encoder": {"bf": "2"}}
    path = write_film(tmp_path / "a.ts", grey_frames(30), Fraction(30000, 1001), **film)
    with Video(path) as video:
        assert video._start == video._first.pts == 6006


def test_times_of_decoding_do_for_those_of_showing(tmp_path):
    """AVI has no others, and its frames are in another order than they are shown in."""
    film = {
        "codec": "libx264",
        "pixels": "yuv420p",
        "encoder": {"x264-params": "b-adapt=0:bframes=2"},
    }
    path = write_film(tmp_path / "a.avi", grey_frames(100), **film)
    (frames,), warnings = read(path, (extractors.Every(Fraction(25), False),))
    levels = [frame.mean() for frame in frames]
    assert levels == sorted(levels)
    assert len(set(levels)) > 80
    assert not warnings


def test_a_size_that_changes_is_scaled_to_the_first(tmp_path):
    """Each frame is what it would be in a film of its own size."""
    random = np.random.default_rng(0)
    parts = [random.integers(0, 256, (10, *size, 3), np.uint8) for size in ((24, 32), (48, 64))]
    for number, frames in enumerate(parts):
        write_film(tmp_path / f"{number}.mjpeg", frames, codec="mjpeg", pixels="yuvj420p")
    both = b"".join((tmp_path / f"{n}.mjpeg").read_bytes() for n in range(2))
    (tmp_path / "both.mjpeg").write_bytes(both)
    every = (extractors.Every(Fraction(25), False),)
    (ours,), warnings = read(tmp_path / "both.mjpeg", every)
    theirs = [row for n in range(2) for row in read(tmp_path / f"{n}.mjpeg", every)[0][0]]
    np.testing.assert_array_equal(ours, theirs)
    assert warnings == ["changes its size at 0.4 s: scaled to one size"]


@pytest.mark.parametrize(
    ("name", "settings_", "count"),
    [
        ("a.webm", {"codec": "libvpx-vp9", "pixels": "yuv420p"}, (3, 4)),
        ("a.gif", {"codec": "gif", "pixels": "rgb8"}, (3, 3)),
        ("a.mkv", {"codec": "ffv1", "pixels": "yuv420p10le"}, (3, 4)),
        ("a.mp4", {"codec": "libx264", "pixels": "yuv420p", "cover": True}, (3, 3)),
        ("a.mkv", {"codec": "ffv1", "times": [n * n for n in range(66)]}, (3, 4)),
    ],
)
def test_films_of_many_kinds_have_their_rows(tmp_path, name, settings_, count):
    """The last has frames ever more seldom."""
    path = write_film(tmp_path / name, grey_frames(66), 15, **settings_)
    rows, warnings = read(path)
    assert (*map(len, rows),) == count
    levels = [frame.mean() for frame in rows[0]]
    assert levels == sorted(levels)
    assert not warnings


def test_tall_films_and_films_of_sixty_frames_a_second(tmp_path):
    path = write_film(tmp_path / "a.mkv", grey_frames(120, (24, 40)), 60)
    rows, warnings = read(path)
    assert rows[0][0].shape == (373, 224, 3)
    assert rows[1][0].shape == (32, 224, 224, 3)
    assert len(warnings) == 1
    assert warnings[0].startswith("at 60 frames a second")


def test_one_frame_is_too_short_for_a_row(tmp_path):
    rows, warnings = read(write_film(tmp_path / "a.mkv", grey_frames(1)))
    assert (*map(len, rows),) == (0, 2)
    assert warnings == ["is only 0.04 s long: too short for a row"]


def test_a_film_that_is_cut_ends_there(tmp_path):
    path = write_film(tmp_path / "a.mkv", grey_frames(200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rows, warnings = read(path)
    assert 1 <= len(rows[0]) <= 3
    assert warnings[-1].endswith("s where 8.0 s are declared")
    assert warnings[-1].startswith("ends at ")


def test_damage_midway_is_passed_over_and_counted(tmp_path):
    path = write_film(tmp_path / "a.mkv", grey_frames(200))
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as film:
        packets = [bytes(packet) for packet in film.demux(video=0)][:200]
    for packet in packets[100:103]:
        # The check sum of a frame is at its end; without its first bytes nothing can be decoded.
        place = content.index(packet)
        content[place : place + len(packet)] = bytes([255]) * len(packet)
    path.write_bytes(content)
    (frames, _), warnings = read(path)
    assert [*map(grey_numbers, frames)] == [18, 56, 93, 131, 168]
    assert len(warnings) == 1
    assert "3 of its packets cannot be decoded, the first after 4.0 s" in warnings[0]


def test_a_time_far_ahead_ends_the_film(tmp_path):
    times = [40 * n for n in range(60)] + [10**9]
    rows, warnings = read(write_film(tmp_path / "a.mkv", grey_frames(61), times=times))
    assert (*map(len, rows),) == (2, 2)
    assert warnings[0] == "is read up to 2.4 s: the next frame is at 1000000.0 s"


def gif(width, height):
    """Returns an animation of two empty frames, in some bytes."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + screen + 2 * frame + b";"


def png(width, height):
    """Returns the beginning of a picture."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(10_000))
    chunks = (header, data, b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: copy it again"),
        (bytes(range(256)) * 20, r"cannot be opened as a film \(Invalid data"),
        (b"Only some words.\n", r"cannot be opened as a film \(Invalid data"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nHi\n", r"has no video stream \(only subtitle\)"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "cannot be opened as a film"),
        (b"#EXTM3U\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n", "cannot be opened as a film"),
        (gif(65535, 65535), "damaged, or have more than 40,000,000 pixels"),
        (png(60_000, 60_000), "damaged, or have more than 40,000,000 pixels"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path, content, message):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        Video(path)
    assert str(path) in str(error.value)


def test_paths_that_are_no_films_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no\.mp4 does not exist: check its name"):
        Video(tmp_path / "no.mp4")
    with pytest.raises(InputError, match="is a folder: give a film"):
        Video(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="is no file: give a film"):
        Video(tmp_path / "pipe.mp4")


def test_films_without_an_index_sound_and_covers_are_refused(tmp_path):
    grey = {"pixels": "yuv420p", "codec": "libx264"}
    path = write_film(tmp_path / "a.mp4", grey_frames(60), **grey)
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.mp4 cannot be opened as a film"):
        Video(tmp_path / "cut.mp4")
    with av.open(str(tmp_path / "a.mka"), "w", format="matroska") as sound:
        stream = sound.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.sample_rate = 8000
        sound.mux(stream.encode(frame))
    with pytest.raises(InputError, match=r"has no video stream \(only audio\)"):
        Video(tmp_path / "a.mka")


def test_a_list_of_films_is_none(tmp_path):
    write_film(tmp_path / "other.mkv", grey_frames(50))
    path = tmp_path / "a.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mkv\n")
    with pytest.raises(InputError, match="is a list of other files: give the films"):
        Video(path)


def test_sound_with_a_cover_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as film:
        sound = film.add_stream("aac", rate=8000)
        cover = film.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 24, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        film.mux(cover.encode(av.VideoFrame.from_ndarray(quarters(), format="rgb24")))
        film.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        film.mux(sound.encode(frame))
        film.mux(sound.encode(None))
    with pytest.raises(InputError, match="has a cover picture but no film"):
        Video(tmp_path / "a.m4a")


def test_an_encrypted_film_is_refused(tmp_path):
    protection = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "1f" * 16}
    path = write_film(
        tmp_path / "a.mp4",
        grey_frames(60),
        codec="libx264",
        pixels="yuv420p",
        options={**protection, "encryption_kid": "2e" * 16},
    )
    with pytest.raises(InputError, match=r"no frame can be decoded \(it is encrypted\)"):
        Video(path)
    stated = {"tags": {"enc_key_id": "AAAA"}}
    path = write_film(tmp_path / "a.mkv", grey_frames(30), **stated)
    with pytest.raises(InputError, match="is encrypted: give a copy"):
        Video(path)


def test_large_frames_are_refused_by_the_limit(tmp_path):
    path = write_film(tmp_path / "a.mkv", grey_frames(30, (64, 64)))
    with pytest.raises(InputError, match="more than 4,095 pixels, the limit"):
        Video(path, max_pixels=4095)
    long = write_film(tmp_path / "b.mkv", grey_frames(30, (2, 600)))
    with pytest.raises(InputError, match="2 x 600 would be scaled to 224 x 67200"):
        read(long, max_pixels=1_000_000)


@pytest.mark.parametrize(
    "name", ["a:b.mkv", "http:a.mkv", "film %03d.mkv", "a'\"\n;.mkv", "ä\udcff.mkv"]
)
def test_names_are_taken_as_they_are(tmp_path, monkeypatch, name):
    plain = write_film(tmp_path / "plain.mkv", grey_frames(50))
    plain.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    rows, _ = read(name)
    assert (*map(len, rows),) == (1, 2)
