"""The sample corpus as video files, and its features from their frames."""

import dataclasses
import resource
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.report import Report
from data.shapes import videos
from data.shapes.__main__ import main
from data.shapes.decoded import Images, appearance, motion, restored
from data.shapes.features import inks
from data.shapes.render import render
from data.shapes.source import look, scaled, scales, tell_film
from data.shapes.story import ENLARGED
from data.shapes.videos import ENCODERS, film_numbers, write_films, write_video
from data.sources.subtitles import open_subtitles
from data.video.decoding import Video
from data.video.sampling import FilmFacts

# Its length is no multiple of 1.5 seconds; one actor turns, moves, and another one comes in.
_WHOLE = tell_film(0, 3)[0]
STORY = dataclasses.replace(_WHOLE, duration=13.3, events=_WHOLE.events[:3])
ROWS = 9


def decoded(path):
    """Both features of a video file."""
    samplings = [Images(moving=False), Images(moving=True)]
    rows = [[], []]
    with Video(path) as video:
        for number, row in video.rows(samplings):
            rows[number].append(row)
        assert not video.warnings
    return appearance(np.stack(rows[0])), motion(np.stack(rows[1]))


def cosines(path):
    """Cosines of both features of STORY's video and those of its own frames, `[rows]` each."""
    for found, measured, scale in zip(decoded(path), look(STORY)[1], scales(), strict=True):
        true = scaled(measured, scale)
        assert found.dtype == np.float32
        assert found.shape == true.shape
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(true, axis=1)
        yield (found * true).sum(1) / norms


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_video_has_the_features_of_its_story(tmp_path, encoder):
    write_video(tmp_path / "film.mp4", STORY, encoder)
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (384, 384, "yuv420p")
        assert (stream.average_rate, stream.frames) == (24, 320)
    looks, moves = cosines(tmp_path / "film.mp4")
    assert len(looks) == ROWS
    assert looks.min() > 0.995
    assert moves.min() > 0.9999


def test_coarse_compression_hardly_changes_features(tmp_path, monkeypatch):
    monkeypatch.setitem(ENCODERS, "mpeg4", {"qmin": "8", "qmax": "8", "b": "2000000"})
    write_video(tmp_path / "film.mkv", STORY, "mpeg4")
    looks, moves = cosines(tmp_path / "film.mkv")
    assert looks.min() > 0.97
    assert moves.min() > 0.9


@given(st.integers(1, 150))
def test_rows_hold_an_image_every_three_eighths_of_a_second(num_frames):
    still, moving = (Images(moving).rows(None) for moving in (False, True))
    rows = [[], []]
    for number in range(num_frames):
        frame = np.full((2, 2, 3), number, np.uint8)
        for kind, maker in enumerate((still, moving)):
            rows[kind] += maker.push(frame)
    for kind, maker in enumerate((still, moving)):
        rows[kind] += maker.finish()
    count = -(-num_frames // 36)
    images = np.arange(count)[:, None] * 36 + np.arange(5) * 9
    images = np.where(images < num_frames, images, num_frames - 1)
    assert np.array_equal([row[:, 0, 0, 0] for row in rows[1]], images)
    assert np.array_equal([row[0, 0, 0] for row in rows[0]], images[:, 2])


def test_a_film_without_frames_has_no_rows():
    assert not list(Images(moving=True).rows(None).finish())
    assert appearance(np.zeros((0, 384, 384, 3), np.uint8)).shape == (0, 128)
    assert motion(np.zeros((0, 5, 384, 384, 3), np.uint8)).shape == (0, 80)


def test_samplings_read_a_film_once_and_whole():
    one, other = Images(moving=False), Images(moving=True)
    assert one.rate(None) == other.rate(None) == Fraction(24)
    assert one.picture(None) == other.picture(None) == (384, 384, None)
    assert one.warnings(FilmFacts(384, 384, 24, 60.0)) == []
    (warning,) = one.warnings(FilmFacts(640, 360, 24, 60.0))
    assert warning.startswith("is no film of the sample corpus")


@given(st.integers(0, 1000), st.integers(0, 14))
@settings(max_examples=20)
def test_noise_does_not_change_an_ink(seed, size):
    frames = render(STORY, np.array([seed / 1000 * STORY.duration]))
    noise = np.random.default_rng(seed).integers(-size, size + 1, (384, 384, 3))
    large = frames.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    found = restored(np.clip(large.astype(int) + noise, 0, 255).astype(np.uint8))
    assert np.array_equal(inks(found), inks(frames))
    assert np.abs(found.astype(int) - frames).max() <= max(size, 1)


def test_the_command_writes_films_and_their_subtitles_once(tmp_path, capsys):
    folder = tmp_path / "new" / "films"
    arguments = [f"--videos={folder}", "--clip=5", "--num=1", "--split=test"]
    main(arguments)
    assert sorted(path.name for path in folder.iterdir()) == [
        "shapes0_00009.mp4",
        "shapes0_00009.srt",
    ]
    assert capsys.readouterr().out == f"{folder}: 1 films written\n"
    said = open_subtitles(folder).read("shapes0_00009", Report())
    assert said == tuple(tell_film(0, 9)[1])
    with Video(folder / "shapes0_00009.mp4") as video:
        assert video.seconds == pytest.approx(tell_film(0, 9)[0].duration, abs=1 / 24)
    written = (folder / "shapes0_00009.mp4").stat()
    main(arguments)
    assert capsys.readouterr().out == f"{folder}: 0 films written, 1 were there\n"
    assert (folder / "shapes0_00009.mp4").stat() == written


def test_a_film_that_cannot_be_completed_is_not_there(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(InputError, match=f"^{tmp_path} could not be written to .*make room"):
            write_films(tmp_path, 7, [0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["shapes7_00000.srt"]


def test_the_next_encoder_is_taken_where_one_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "ENCODERS", {"none such": {}})
    with pytest.raises(InputError, match="PyAV has none of the encoders none such"):
        write_films(tmp_path, 0, [0])
    monkeypatch.setattr(videos, "ENCODERS", {"none such": {}, **ENCODERS})
    assert videos.encoder() == next(iter(ENCODERS))


def test_films_are_chosen_by_split():
    assert film_numbers(3, 4) == [3, 4, 5, 6]
    assert film_numbers(3, 3, "test") == [9, 19, 29]
    assert film_numbers(7, 3, "train") == [7, 10, 11]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--videos=FILE"], "FILE is no folder: name another one for the films"),
        (["--videos=FILE/films"], "FILE/films could not be written to"),
        (["--videos=films", "--clip=-1"], "clip is -1"),
        (["--out=a.png", "--clip=-1"], "clip is -1"),
        (["--videos=films", "--num=0"], "num is 0"),
        (["--out=a.png", "--split=test"], "--num and --split are about --videos"),
        (["--out=a.png", "--videos=films"], "not allowed with argument"),
        ([], "one of the arguments --out --videos is required"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(tmp_path, capsys, arguments, said):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit) as ended:
        main([argument.replace("FILE", str(file)) for argument in arguments])
    message = capsys.readouterr().err if ended.value.code == 2 else ended.value.code
    assert said.replace("FILE", str(file)) in message


def test_a_picture_is_a_png_whatever_its_name(tmp_path, capsys):
    main([f"--out={tmp_path / 'film.txt'}"])
    assert (tmp_path / "film.txt").read_bytes().startswith(b"\x89PNG")
