"""Subtitles beside films are copied as they are, those in films are written, others are kept."""

import av
import pytest

from data.report import Report
from data.sources.subtitles import open_subtitles
from hero_jax.extract import subtitles
from tests.data.video.test_speech import film as spoken_film
from tests.hero_jax.extract.samples import files, write_film

SUBRIP = "1\n00:00:01,000 --> 00:00:02,500\n{}\n"


def write_with_track(path, text, language="eng"):
    """Writes a film with a track of subtitles, which have one line."""
    plain = write_film(path.with_suffix(".plain.mp4"), 3)
    (path.parent / "track.srt").write_text(SUBRIP.format(text))
    with (
        av.open(str(plain)) as film,
        av.open(str(path.parent / "track.srt")) as track,
        av.open(str(path), "w") as out,
    ):
        streams = [out.add_stream_from_template(source.streams[0]) for source in (film, track)]
        streams[1].metadata["language"] = language
        for source, stream in zip((film, track), streams, strict=True):
            for packet in source.demux(source.streams[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    plain.unlink()
    (path.parent / "track.srt").unlink()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


@pytest.fixture
def run(folder, extract, tmp_path):
    """Runs the command on the folder; returns what it prints, and the subtitles that are there."""

    def run(*arguments):
        printed = extract(folder, *arguments, networks="colours")
        assert printed.status == 0, printed
        return printed, files(tmp_path / "out" / "subtitles")

    return run


def said(tmp_path, name):
    return [s.text for s in open_subtitles(tmp_path / "out/subtitles").read(name, Report())]


def test_a_file_beside_a_film_is_copied_as_it_is(folder, run, tmp_path):
    write_film(folder / "a.mp4", 3)
    content = "\ufeff" + SUBRIP.format("Hello") + "\r\n\n"
    (folder / "a.en.SRT").write_text(content)
    printed, found = run()
    assert found == {"a.srt": content.encode()}
    assert "subtitles: 1 from files beside films, 0 from tracks in films" in printed.out
    assert f"--subtitles={tmp_path / 'out' / 'subtitles'} " in printed.out
    assert said(tmp_path, "a") == ["Hello"]
    assert run()[1] == found


def test_a_file_that_changes_or_goes_is_followed_without_decoding(folder, run, tmp_path):
    write_film(folder / "a.mp4", 3)
    (folder / "a.srt").write_text(SUBRIP.format("Hello"))
    run()
    features = (tmp_path / "out" / "colours" / "a.npz").stat().st_mtime_ns
    (folder / "a.srt").write_text(SUBRIP.format("Goodbye"))
    assert said(tmp_path, "a") == ["Hello"]
    run()
    assert said(tmp_path, "a") == ["Goodbye"]
    (folder / "a.srt").rename(folder / "a.vtt")
    printed, found = run()
    assert [*found] == ["a.vtt"]
    (folder / "a.vtt").unlink()
    printed, found = run()
    assert not found
    assert "1 films without" in printed.out
    assert "--subtitles" not in printed.out
    assert (tmp_path / "out" / "colours" / "a.npz").stat().st_mtime_ns == features


def test_of_several_languages_one_is_chosen(folder, run, tmp_path):
    write_film(folder / "a.mp4", 3)
    for language, text in {"en": "Hello", "fr": "Bonjour"}.items():
        (folder / f"a.{language}.srt").write_text(SUBRIP.format(text))
    printed, found = run()
    assert not found
    assert f"warning: {folder} has both a.en.srt and a.fr.srt" in printed.err
    run("--subtitle_language=fr")
    assert said(tmp_path, "a") == ["Bonjour"]
    run("--subtitle_language=eng")
    assert said(tmp_path, "a") == ["Hello"]


def test_a_track_is_read_if_there_is_no_file(folder, run, tmp_path):
    write_with_track(folder / "a.mkv", "Guten Tag", "ger")
    printed, found = run()
    assert [*found] == ["a.srt"]
    assert "0 from files beside films, 1 from tracks in films" in printed.out
    assert said(tmp_path, "a") == ["Guten Tag"]
    printed, found = run("--subtitle_language=en")
    assert not found
    assert "a.mkv is kept without subtitles" in printed.err
    (folder / "a.srt").write_text(SUBRIP.format("Hello"))
    run()
    assert said(tmp_path, "a") == ["Hello"]


def test_what_somebody_else_wrote_is_kept(folder, run, tmp_path):
    write_with_track(folder / "a.mkv", "Guten Tag")
    run()
    target = tmp_path / "out" / "subtitles" / "a.srt"
    target.write_text(SUBRIP.format("Good day"))
    printed, _ = run()
    assert "warning" not in printed.err
    assert said(tmp_path, "a") == ["Good day"]
    write_with_track(folder / "a.mkv", "Gute Nacht", "ger")
    printed, _ = run("--subtitle_language=de")
    assert f"warning: {target} was not made here: kept" in printed.err
    printed, _ = run("--subtitle_language=de")
    assert f"warning: {target} was not made here: kept" in printed.err
    assert said(tmp_path, "a") == ["Good day"]
    target.unlink()
    run("--subtitle_language=de")
    assert said(tmp_path, "a") == ["Gute Nacht"]


def test_subtitles_that_are_wanted_in_another_way_are_read_again(folder, tmp_path):
    path = write_film(folder / "a.mp4", 3)
    state = subtitles.VideoFile(path)
    film = subtitles.FoundFilm("a", path)
    choice = subtitles.SubtitleChoice("en")
    out = tmp_path / "subtitles"
    out.mkdir()
    assert subtitles.make(out, film, choice, state.describe()).source == subtitles.NONE
    assert subtitles.finished(out, film, state, choice).source == subtitles.NONE
    assert subtitles.finished(out, film, state, subtitles.SubtitleChoice("de")) is None
    assert subtitles.finished(out, film, state, subtitles.SubtitleChoice("en", "base")) is None


def test_speech_is_written_down_where_there_are_no_other_subtitles(
    folder, run, tmp_path, whisper_model
):
    spoken_film(folder / "a.mp4")
    write_film(folder / "b.mp4", 3)
    (folder / "b.srt").write_text(SUBRIP.format("Hello"))
    printed, found = run()
    assert [*found] == ["b.srt"]
    whisper = ("--subtitles=whisper", f"--whisper_model={whisper_model}", "--subtitle_language=en")
    printed, found = run(*whisper)
    assert [*found] == ["a.srt", "b.srt"]
    assert "1 from files beside films, 0 from tracks in films, 1 from speech" in printed.out
    assert said(tmp_path, "a")[-1] == "en"
    (folder / "b.srt").unlink()
    printed, found = run(*whisper)
    assert [*found] == ["a.srt"]
    assert run(*whisper)[1] == found


def test_an_empty_file_beside_a_film_is_copied_once(folder, run, tmp_path):
    write_film(folder / "a.mp4", 3)
    (folder / "a.srt").touch()
    assert run()[1] == {"a.srt": b""}
    printed, found = run()
    assert "0 films done, 1 were finished before" in printed.out
    assert found == {"a.srt": b""}


def test_the_name_of_a_language_is_no_code(folder, extract):
    write_film(folder / "a.mp4", 3)
    printed = extract(folder, "--subtitle_language=english", networks="colours")
    assert printed.status == 1
    assert "error: 'english' is no code of a language: give its two or three letters" in printed.out


def test_a_speech_model_without_speech_is_refused(folder, extract):
    write_film(folder / "a.mp4", 3)
    printed = extract(folder, "--whisper_model=small", networks="colours")
    assert printed.status == 1
    assert "error: --whisper_model is for --subtitles=whisper: give that, too" in printed.out
