"""Subtitles of films from what is said in them, by faster-whisper, an optional package."""

import functools
import os
import textwrap
from typing import Any

import av

from data.arguments import user_path
from data.errors import InputError
from data.schema import RawSubtitle
from data.video.languages import short_code
from data.video.opening import open_container

# Name of the model unless the user names another.
WHISPER_MODEL = "base"
# Characters of another library's message that are shown.
_REASON_SHOWN = 300


def transcribe(path: str | os.PathLike, model: str, language: str = "") -> list[RawSubtitle]:
    """Returns a subtitle for each sentence or part of one, with the times of its words.

    The model stays in memory for the next film.

    Args:
      path: the film; one without sound has no subtitles.
      model: folder of a Whisper model as CTranslate2 reads it, or a name that faster-whisper knows,
        as `base`, which it downloads.
      language: code of the language that is spoken, as `en` or `eng`; '' if it is to be found out.

    Raises:
      InputError: the package is missing, the model cannot be used or does not know the language, or
        the film cannot be decoded.
    """
    whisper = speech_model(model, language)
    path = user_path(path)
    with open_container(path) as container:
        if not container.streams.audio:
            return []
    try:
        # Where nobody speaks, the model makes words up, and would build on what it made up.
        segments, _ = whisper.transcribe(
            str(path),
            language=short_code(language) or None,
            vad_filter=True,
            word_timestamps=True,
            condition_on_previous_text=False,
        )
        found = [RawSubtitle(part.text.strip(), part.start, part.end) for part in segments]
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: its sound cannot be decoded ({error.strerror}): replace the film by a copy "
            "that plays, or give it subtitles"
        ) from error
    return [subtitle for subtitle in found if subtitle.text]


def speech_model(model: str, language: str = "") -> Any:
    """Returns the `WhisperModel` of a folder or name, for a language; see `transcribe`."""
    whisper = _load(_folder_or_name(model))
    if language and short_code(language) not in whisper.supported_languages:
        known = ", ".join(whisper.supported_languages)
        raise InputError(f"the speech model does not know the language {language!r}: use {known}")
    return whisper


def _folder_or_name(model: str) -> str:
    path = user_path(model, "the speech model")
    if path.is_dir() and not (path / "model.bin").is_file():
        raise InputError(f"{path} holds no model.bin: give the folder of a faster-whisper model")
    return str(path) if path.exists() else model


@functools.lru_cache(maxsize=1)
def _load(model: str) -> Any:
    """Returns the `WhisperModel` of a folder or name."""
    try:
        import faster_whisper
    except ImportError as error:
        raise InputError(
            "subtitles from speech need faster-whisper: pip install faster-whisper"
        ) from error
    try:
        return faster_whisper.WhisperModel(model)
    except Exception as error:  # Its parts raise errors of many classes.
        why = textwrap.shorten(str(error), _REASON_SHOWN)
        raise InputError(
            f"the speech model {model} cannot be used ({why}): give the folder of a "
            "faster-whisper model, or the name of one, as base"
        ) from error
