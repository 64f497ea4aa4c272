"""Subtitles from speech: by a stand-in for faster-whisper, and by itself where it is installed."""

import os
import re
import sys
import types
from pathlib import Path

import av
import numpy as np
import pytest

from data.errors import InputError
from data.schema import RawSubtitle
from data.video import speech
from data.video.speech import transcribe

SECONDS, RATE = 2, 16_000


def film(path, sound=True):
    """Writes a film of two seconds, with a tone if it has sound."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for _ in range(10 * SECONDS):
            picture = np.zeros((32, 32, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(video.encode())
        if audio:
            tone = np.sin(np.arange(SECONDS * RATE) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            frame.sample_rate = RATE
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


class Whisper:
    """Stand-in for faster-whisper's model, for films in which four things are said."""

    supported_languages = ("en", "de")
    loaded: list

    def __init__(self, model):
        if not Path(model, "model.bin").exists() or not Path(model, "model.bin").read_bytes():
            raise RuntimeError(f"File model.bin of {model}\n is incomplete")
        self.loaded.append(model)

    def transcribe(self, path, language, **settings):
        assert settings == {
            "vad_filter": True,
            "word_timestamps": True,
            "condition_on_previous_text": False,
        }
        with av.open(path) as container:
            said = [f" {frame.samples} " for frame in container.decode(audio=0)][:2]
        said += ["", f" {language}"]
        parts = (types.SimpleNamespace(text=t, start=n, end=n + 0.5) for n, t in enumerate(said))
        return parts, None


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The folder of a model, which the stand-in loads."""
    monkeypatch.setattr(Whisper, "loaded", [], raising=False)
    module = types.ModuleType("faster_whisper")
    module.WhisperModel = Whisper
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    speech._load.cache_clear()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    yield str(folder)
    speech._load.cache_clear()


def test_what_is_said_becomes_subtitles(model, tmp_path):
    path = film(tmp_path / "film.mp4")
    said = [RawSubtitle("1024", 0, 0.5), RawSubtitle("1024", 1, 1.5)]
    assert transcribe(path, model) == [*said, RawSubtitle("None", 3, 3.5)]
    for code in "de", "ger":
        assert transcribe(path, model, code) == [*said, RawSubtitle("de", 3, 3.5)]
    assert Whisper.loaded == [model]


def test_a_film_without_sound_has_none(model, tmp_path):
    assert transcribe(film(tmp_path / "film.mp4", sound=False), model) == []


def test_wrong_films_and_languages_are_refused(model, tmp_path):
    path = film(tmp_path / "film.mp4")
    with pytest.raises(InputError, match="does not know the language 'fra': use en, de"):
        transcribe(path, model, "fra")
    with pytest.raises(InputError, match=r"gone\.mp4 does not exist"):
        transcribe(tmp_path / "gone.mp4", model)


def test_wrong_models_are_refused(model, tmp_path):
    path = film(tmp_path / "film.mp4")
    with pytest.raises(InputError, match=f"^{tmp_path} holds no model.bin"):
        transcribe(path, str(tmp_path))
    (tmp_path / "model.bin").touch()
    incomplete = f"the speech model {tmp_path} cannot be used (File model.bin of {tmp_path} is"
    with pytest.raises(InputError, match=f"^{re.escape(incomplete)}"):
        transcribe(path, str(tmp_path))
    with pytest.raises(InputError, match=r"^the speech model bas cannot be used"):
        transcribe(path, "bas")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    speech._load.cache_clear()
    with pytest.raises(InputError, match=r"pip install faster-whisper$"):
        transcribe(tmp_path / "film.mp4", "base")


def test_a_real_model_hears_what_is_said():
    pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")
    if missing := {"HERO_SHARED", "HERO_WHISPER"} - os.environ.keys():
        pytest.skip(f"not set: {', '.join(sorted(missing))}")
    path = Path(os.environ["HERO_SHARED"]) / "videos" / "ai_explained.webm"
    heard = transcribe(path, os.environ["HERO_WHISPER"])
    assert "artificial intelligence" in heard[0].text.lower()
    assert heard[-1].text.endswith("dialogue.")
    assert 0 <= heard[0].start < heard[0].end <= heard[-1].start < heard[-1].end < 17
