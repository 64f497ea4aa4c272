"""The files of a folder of subtitles, and the video that each is about."""

import itertools
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from data.errors import InputError
from data.files import passed_over
from data.report import Report
from data.sources.json_files import check_file_name
from data.sources.subtitle_formats.registry import EXTENSIONS, FIRST_EXTENSIONS, is_subtitles

_BESIDE = "files of subtitles of a video that has another one: not read"
_OTHERS = "files and folders beside the subtitles, of other kinds: not read"
# File names without their extension that end with a language: `ID.en`, `ID.pt-BR`, `ID.zh_Hans`.
_LANGUAGE = re.compile(r"(.+)\.([a-z]{2,3}(?:[-_][A-Za-z0-9]+)*)")


def list_files(folder: Path, known: Collection[str], report: Report) -> dict[str, str]:
    """Returns the name of the file of each video.

    Args:
      known: ids of videos. A file name that ends with a language but is one of these is an id.
      report: counts the files that are not read.

    Raises:
      InputError: a video has several files, or there are none.
    """
    names: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if passed_over(entry.name):
                continue
            if not is_subtitles(entry.name) or entry.is_dir():
                kind = os.path.splitext(entry.name)[1].lower()
                others.setdefault("folders" if entry.is_dir() else kind, []).append(entry.name)
                continue
            check_file_name(entry.name, folder)
            video_id = video_of(entry.name, known)
            if video_id in names:
                several.setdefault(video_id, [names[video_id]]).append(entry.name)
            names[video_id] = entry.name
    for video_id, of_video in sorted(several.items()):
        names[video_id] = choose_file(folder, video_id, sorted(of_video), report)
    for kind, of_kind in sorted(others.items()):
        first = ascii(min(of_kind))[1:-1]
        more = f" and {len(of_kind) - 1:,} more {kind or 'without extension'}"
        report.add(
            _OTHERS, str(folder / first) + more * (len(of_kind) > 1), len(of_kind), is_listed=True
        )
    if not names:
        raise InputError(
            f"{folder} holds no subtitles{_described(others)}: it needs files ID.srt, ID.vtt or "
            f"ID.csv, or with {', '.join(EXTENSIONS[len(FIRST_EXTENSIONS) :])}"
        )
    return names


def _described(others: Mapping[str, Sequence[str]]) -> str:
    """Returns what else lies in a folder, for a message."""
    names = sorted(itertools.chain.from_iterable(others.values()))
    return f", but {len(names):,} other files such as {names[0]!a}" if names else ""


def video_of(name: str, known: Collection[str]) -> str:
    """Returns the id of the video that a file is about: its name without extension and language."""
    stem = os.path.splitext(name)[0]
    with_language = None if stem in known else _LANGUAGE.fullmatch(stem)
    return with_language[1] if with_language else stem


def language_of(name: str, known: Collection[str]) -> str:
    """Returns the language that a file's name ends with, '' without any; see `video_of`."""
    stem = os.path.splitext(name)[0]
    with_language = None if stem in known else _LANGUAGE.fullmatch(stem)
    return with_language[2] if with_language else ""


def choose_file(folder: Path, video_id: str, names: list[str], report: Report) -> str:
    """Returns the file to read of several that a video has.

    Raises:
      InputError: it is not clear which it is.
    """
    first = [name for name in names if name.lower().endswith(FIRST_EXTENSIONS)]
    chosen = first if len(first) == 1 else names
    if len(chosen) > 1:
        one, other = (first or names)[:2]
        raise InputError(
            f"{folder} has both {one} and {other}, which are subtitles of {video_id}: leave one of "
            "them"
        )
    for name in names:
        if name not in chosen:
            report.add(_BESIDE, str(folder / name), is_listed=True)
    return chosen[0]
