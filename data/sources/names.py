"""Compares the names that features, subtitles, splits and annotations give to the same video.

Names of the same video may differ in the extension of a media file (`a.mp4` and `a`) and in the
Unicode form of accents; the name in the features is then the video's id. Names that agree as they
are spelled always belong together, whatever others are like them.
"""

import bisect
import collections
import difflib
import itertools
import logging
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Self

from data.errors import InputError
from data.report import Report
from data.schema import RawSubtitle
from data.sources.base import SubtitleReader

# Extensions of video files, in lower case, and of files of sound alone.
VIDEO_EXTENSIONS = (
    *("mp4", "mkv", "webm", "avi", "mov", "m4v", "mpg", "mpeg", "flv", "f4v", "wmv", "asf", "ts"),
    *("mts", "m2ts", "3gp", "3g2", "ogv", "vob", "rm", "rmvb", "divx", "gif"),
)
_SOUND = ("mp3", "wav", "m4a", "aac", "flac", "ogg", "opus", "wma", "aiff", "aif")
# `a.mp4`, `a.mp4.webm`, and `a.mp4.7`, the clip 7 of `a.mp4`.
_EXTENSIONS = re.compile(
    rf"(?:\.(?:{'|'.join((*VIDEO_EXTENSIONS, *_SOUND))}))+(?=(?:\.\d+)?$)", re.IGNORECASE
)
# Share of the fewer names that at most this many matches are hardly any of.
_HARDLY_ANY = 1 / 20
# Names that are compared with one name, and pairs that are shown.
_COMPARED = 1000
_SHOWN = 3


def normal_form(name: str) -> str:
    """Returns the same for all names of a video: NFC, without the extension of a media file."""
    composed = unicodedata.normalize("NFC", name)
    return _EXTENSIONS.sub("", composed) or composed


class KnownNames:
    """The ids of videos, found by any of their names."""

    def __init__(self, ids: Collection[str]):
        """Takes the ids."""
        self._ids = ids if isinstance(ids, set | frozenset) else set(ids)
        self._by_form: dict[str, str | None] | None = None

    def find(self, name: str) -> str | None:
        """Returns the id with this name or, if it is the only one, like it; None without any."""
        if name in self._ids:
            return name
        if self._by_form is None:
            self._by_form = _unique_by_form(self._ids)
        return self._by_form.get(normal_form(name))


def spellings(names: Collection[str], ids: Collection[str]) -> dict[str, str]:
    """Returns the name of each video that is not spelled like its id, by id.

    Only names that are like one id alone, which is like no other name, are taken for it.
    """
    known, given = set(ids), set(names)
    if given <= known or known <= given:
        return {}
    by_form = _unique_by_form(known)
    found = {}
    for form, name in _unique_by_form(given).items():
        video_id = by_form.get(form)
        if name is not None and video_id is not None and name != video_id:
            found[video_id] = name
    return found


def _unique_by_form(names: Iterable[str]) -> dict[str, str | None]:
    """Returns the name of each normal form, None if there are several."""
    by_form: dict[str, str | None] = {}
    for name in names:
        form = normal_form(name)
        by_form[form] = None if form in by_form else name
    return by_form


def tell_spellings(found: Mapping[str, str], where: str) -> None:
    """Logs how many names are taken for ids that are spelled otherwise, with an example."""
    if found:
        video_id, name = min(found.items())
        logging.warning(
            "Names %s that are spelled otherwise than in the features, and taken for the same: "
            "%d, as %s for %s.",
            where,
            len(found),
            name,
            video_id,
        )


class _Respelled:
    """A `SubtitleReader` of videos whose subtitles have other names."""

    def __init__(self, reader: SubtitleReader, stored: Mapping[str, str]):
        """Takes a reader, and its name of each video with another id."""
        self._reader, self._stored = reader, stored

    def ids(self) -> set[str]:
        """Returns the ids of the videos that have subtitles."""
        return (self._reader.ids() - set(self._stored.values())) | self._stored.keys()

    def read(self, video_id: str, report: Report) -> tuple[RawSubtitle, ...]:
        """Returns a video's subtitles; see `SubtitleReader`."""
        return self._reader.read(self._stored.get(video_id, video_id), report)

    def files(self, video_id: str) -> list[Path]:
        """Returns the files of a video's subtitles, without opening them."""
        return self._reader.files(self._stored.get(video_id, video_id))

    def settings(self) -> list[str | None]:
        """Returns JSON values that what is read from these files depends on."""
        return self._reader.settings()

    def narrowed(self, ids: Iterable[str]) -> Self:
        """Returns a reader of these videos only."""
        kept = list(ids)
        stored = {i: self._stored[i] for i in kept if i in self._stored}
        return type(self)(self._reader.narrowed(stored.get(i, i) for i in kept), stored)


def with_ids(subtitles: SubtitleReader, ids: Collection[str]) -> SubtitleReader:
    """Returns a reader in which subtitles have the ids of the videos that their names are like."""
    stored = spellings(subtitles.ids(), ids)
    tell_spellings(stored, "of subtitles")
    return _Respelled(subtitles, stored) if stored else subtitles


def check_alike(first: set[str], second: set[str], first_name: str, second_name: str) -> None:
    """Checks that names of two kinds, if there are any, agree in more than a few cases.

    If less than half of the fewer agree, the nearest names are logged.

    Raises:
      InputError: hardly any agree, so their spelling differs; the message shows the nearest names.
    """
    both, fewer = len(first & second), min(len(first), len(second))
    if 2 * both >= fewer:
        return
    message = (
        f"{'only ' if both else ''}{both or 'none'} of {len(first):,} {first_name} and "
        f"{len(second):,} {second_name} have the same name: name them alike "
        f"{nearest(first - second, second - first)}"
    )
    if both <= _HARDLY_ANY * fewer:
        raise InputError(message)
    logging.warning("%s.", message)


def nearest(names: Iterable[str], others: Collection[str]) -> str:
    """Returns the nearest pairs of a few names and others in brackets, for a message."""
    ordered = sorted(others)
    pairs = []
    for name in sorted(names)[: 10 * _SHOWN]:
        # Comparing with all of a million names would take minutes.
        place = bisect.bisect(ordered, name)
        near = ordered[max(place - _COMPARED // 2, 0) : place + _COMPARED // 2]
        within = (other for other in ordered if name in other or other in name)
        candidates = [*near, *itertools.islice(within, _SHOWN)]
        for other in difflib.get_close_matches(name, candidates, 1, cutoff=0):
            likeness = difflib.SequenceMatcher(None, other, name).ratio()
            pairs.append((-likeness, name, other))
    shown = [f"{name!r} and {other!r}" for _, name, other in sorted(pairs)[:_SHOWN]]
    return f"(the nearest: {', '.join(shown)})" if shown else "(there are no names to compare)"


def common_endings(ids: Collection[str], least: int) -> dict[str, int]:
    """Returns how often ids end in each ending that several files of a video differ in.

    `a_clip`, `a_fps`, `b_clip` and `b_fps` have `_clip` and `_fps`. Numbers, as of clips, are no
    such endings. There are none unless at least `least` videos have all of them, and these are most
    of a thousand ids.
    """
    sample = sorted(ids)[:_COMPARED]
    endings: dict[str, set[str]] = collections.defaultdict(set)
    for name in sample:
        for separator in re.finditer(r"(?<=.)[_.\-]", name):
            endings[name[: separator.start()]].add(name[separator.start() :])
    videos: collections.Counter[frozenset[str]] = collections.Counter()
    longest: collections.Counter[frozenset[str]] = collections.Counter()
    for stem, found in endings.items():
        if len(found) > 1 and not all(ending[-1].isdigit() for ending in found):
            videos[frozenset(found)] += 1
            longest[frozenset(found)] = max(longest[frozenset(found)], len(stem))
    if not videos:
        return {}
    common = max(videos, key=lambda found: (videos[found] * len(found), longest[found]))
    if videos[common] < least or 2 * videos[common] * len(common) <= len(sample):
        return {}
    return {ending: sum(i.endswith(ending) for i in ids) for ending in sorted(common)}
