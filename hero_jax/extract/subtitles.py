"""Subtitles of films: files beside them, tracks in them, or speech, in that order.

`subtitles/ID.srt`, or with another extension, has a hidden `.ID.json` beside it that says where it
is from. A file that somebody else wrote or changed is kept.
"""

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import replacing
from data.report import Report
from data.schema import RawSubtitle
from data.sources.json_files import read_json
from data.sources.subtitle_formats.registry import EXTENSIONS
from data.sources.subtitle_formats.subrip import to_subrip
from data.video.languages import check_language
from data.video.speech import WHISPER_MODEL, transcribe
from data.video.subtitles import read_subtitles
from hero_jax.extract.films import FoundFilm
from hero_jax.extract.output import VideoFile

FOLDER = "subtitles"
# Where the subtitles of a film are from.
BESIDE, TRACKS, SPEECH, NONE = "files beside films", "tracks in films", "speech", "none"


@dataclasses.dataclass(frozen=True)
class SubtitleChoice:
    """Choice among the subtitles of a film.

    Attributes:
      language: of files and tracks where there are several, as `en`; '' for any.
      speech: model that writes down what is said in films without subtitles; '' for none.
    """

    language: str = ""
    speech: str = ""

    def __post_init__(self) -> None:
        """Raises InputError for a language that is no code of one."""
        if self.language:
            check_language(self.language)


def choice_of(options: argparse.Namespace) -> SubtitleChoice:
    """Returns the choice of a command's options; raises InputError if they do not go together."""
    if options.whisper_model and not options.subtitles:
        raise InputError("--whisper_model is for --subtitles=whisper: give that, too")
    model = options.whisper_model or WHISPER_MODEL
    return SubtitleChoice(options.subtitle_language or "", model if options.subtitles else "")


def content(film: FoundFilm, choice: SubtitleChoice, report: Report) -> tuple[str, str, bytes]:
    """Returns where a film's subtitles are from, their file's extension, and their bytes.

    Args:
      report: counts what is left out of subtitles in the film.

    Raises:
      InputError: they cannot be read.
    """
    beside = film.beside.file
    if beside:
        try:
            return BESIDE, beside.suffix.lower(), beside.read_bytes()
        except OSError as error:
            raise InputError(f"{beside} cannot be read ({error.strerror})") from error
    source, subtitles = read(film.path, choice, report)
    return source, ".srt", to_subrip(subtitles).encode() if subtitles else b""


def read(film: Path, choice: SubtitleChoice, report: Report) -> tuple[str, list[RawSubtitle]]:
    """Returns where the subtitles of a film without a file beside it are from, and what they are.

    Args:
      report: counts what is left out.

    Raises:
      InputError: they cannot be read.
    """
    try:
        subtitles = read_subtitles(film, choice.language, report)
    except InputError:
        # Its tracks may be in other languages than the one that is spoken.
        if not choice.speech:
            raise
        subtitles = []
    if subtitles:
        return TRACKS, subtitles
    if choice.speech:
        return SPEECH, transcribe(film, choice.speech, choice.language)
    return NONE, []


@dataclasses.dataclass(frozen=True)
class Made:
    """Subtitles of a film that were made here; `.ID.json`.

    Attributes:
      source: where they are from.
      choice: which ones were wanted.
      video: the film, see `VideoFile`.
      file: name of the file, '' without subtitles.
      sha256: hash of what was made, '' without subtitles.
      warnings: sentences about them.
    """

    source: str
    choice: SubtitleChoice
    video: Mapping[str, Any]
    file: str = ""
    sha256: str = ""
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path, video_id: str) -> "Made | None":
        """Reads what is said about a film's subtitles; None if there is nothing to read."""
        try:
            content: Any = read_json(_path(folder, video_id))
            choice, warnings = SubtitleChoice(**content["choice"]), tuple(content["warnings"])
            return cls(**{**content, "choice": choice, "warnings": warnings})
        except (InputError, LookupError, TypeError):
            return None

    def save(self, folder: Path, video_id: str) -> None:
        """Writes it."""
        with replacing(_path(folder, video_id), alone=True) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(self)) + "\n")


def _path(folder: Path, video_id: str) -> Path:
    return folder / f".{video_id}.json"


def finished(
    folder: Path, film: FoundFilm, state: VideoFile, choice: SubtitleChoice
) -> Made | None:
    """Returns what was made for a film if it need not be made again."""
    made, beside = Made.load(folder, film.video_id), film.beside.file
    if made is None or made.choice != choice or not state.is_as(made.video):
        return None
    if (made.source == BESIDE) != bool(beside):
        return None
    if beside and (film.video_id + beside.suffix.lower(), _sha256(beside)) != (
        made.file,
        made.sha256,
    ):
        return None
    return None if made.file and not (folder / made.file).exists() else made


def make(folder: Path, film: FoundFilm, choice: SubtitleChoice, video: Mapping[str, Any]) -> Made:
    """Writes a film's subtitles, in place of those that were made before; returns what it made.

    Subtitles that somebody else wrote are kept, with a warning.

    Args:
      video: description of the film.

    Raises:
      OSError: they cannot be written.
    """
    report = Report()
    try:
        source, extension, text = content(film, choice, report)
        warnings = report.lines()
    except InputError as error:
        source, extension, text = NONE, "", b""
        warnings = [*report.lines(), f"{film.path} is kept without subtitles: {error}"]
    made = Made(source, choice, video, warnings=tuple(warnings))
    # An empty file beside a film is copied too: it says that the film has no subtitles.
    if has_file := bool(text) or source == BESIDE:
        sha256 = hashlib.sha256(text).hexdigest()
        made = dataclasses.replace(made, file=f"{film.video_id}{extension}", sha256=sha256)
    other = _others(folder, film.video_id, made)
    if other:
        kept = f"{folder / other} was not made here: kept, delete it to have it made again"
        made = dataclasses.replace(made, file=other, warnings=(*made.warnings, kept))
    elif has_file:
        with replacing(folder / made.file, alone=True) as temporary:
            temporary.write_bytes(text)
    made.save(folder, film.video_id)
    return made


def _others(folder: Path, video_id: str, made: Made) -> str:
    """Returns the name of a file that somebody else wrote, if any; removes what was made before."""
    before = Made.load(folder, video_id)
    others = ""
    for name in (f"{video_id}{ending}" for ending in EXTENSIONS):
        lying = _sha256(folder / name)
        if lying is None or (name, lying) == (made.file, made.sha256):
            continue
        if before is None or (name, lying) != (before.file, before.sha256):
            others = name
        elif name != made.file:
            (folder / name).unlink()
    return others


def _sha256(file: Path) -> str | None:
    """Returns the hash of a file, None if there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
