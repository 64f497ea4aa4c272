"""Reads the subtitles in films, and chooses among the tracks in which they are."""

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.subtitles.stream import SubtitleStream

from data.arguments import user_path
from data.errors import InputError
from data.report import Report
from data.schema import RawSubtitle
from data.sources.subtitle_formats.base import Cue, Cues, lines_of
from data.sources.subtitle_formats.cues import read_subrip, read_webvtt
from data.sources.subtitle_formats.substation import FIELDS, cues_of_dialogue
from data.sources.subtitles import MISTAKE, sound_subtitles
from data.video.languages import same_language
from data.video.opening import open_container

_PICTURES = "tracks of subtitles that are pictures, or of an unknown kind: not read"
_DAMAGED = "tracks of subtitles that are damaged: read up to there"


class Track(NamedTuple):
    """A track of subtitles in a film.

    number: among the film's tracks of all kinds, from 0.
    language: its code, '' if the film does not say.
    kind: name of the codec.
    is_text: whether it can be read.
    is_forced: whether it has only what is said in a foreign language.
    """

    number: int
    language: str
    title: str
    kind: str
    is_text: bool
    is_default: bool
    is_forced: bool


class _Event(NamedTuple):
    """A packet of a track, timed in seconds."""

    start: float
    end: float
    packet: av.Packet


def _track(stream: SubtitleStream) -> Track:
    context, flags = stream.codec_context, av.stream.Disposition
    language = stream.language or ""
    return Track(
        stream.index,
        "" if language == "und" else language,
        stream.metadata.get("title", ""),
        context.name if context else "unknown",
        context is not None and context.codec.text_sub,
        bool(stream.disposition & flags.default),
        bool(stream.disposition & flags.forced),
    )


def choose_track(tracks: Sequence[Track], language: str = "") -> Track | None:
    """Returns the track to read: the default one or the first, before those that are forced.

    Args:
      language: a code of ISO 639 in two or three letters, '' for any.

    Returns:
      None if no track can be read.

    Raises:
      InputError: there are tracks, but none in this language that can be read.
    """
    readable = [track for track in tracks if track.is_text]
    fitting = [t for t in readable if not language or same_language(t.language, language)]
    if tracks and language and not fitting:
        there = ", ".join(
            f"{track.language or 'not named'}{'' if track.is_text else ' (not readable)'}"
            for track in tracks
        )
        raise InputError(f"there are no subtitles in {language!r}: choose among {there}")
    # The first of several that are equally good.
    return min(fitting, key=lambda t: (t.is_forced, not t.is_default), default=None)


def read_subtitles(
    path: str | os.PathLike, language: str = "", report: Report | None = None
) -> list[RawSubtitle]:
    """Returns the subtitles in a film, in seconds from its start; none if it has no track of text.

    Args:
      language: a code of ISO 639 in two or three letters, '' for any; see `choose_track`.
      report: counts the tracks that cannot be read, and what is left out of the one that is.

    Raises:
      InputError: the file cannot be opened, or has no subtitles in this language.
    """
    path, report = user_path(path, "the film"), report or Report()
    with open_container(path) as container:
        tracks = [_track(stream) for stream in container.streams.subtitles]
        for track in tracks:
            if not track.is_text:
                name = ", ".join(filter(None, (track.language, track.kind)))
                report.add(_PICTURES, f"{path} track {track.number} ({name})", is_listed=True)
        try:
            chosen = choose_track(tracks, language)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if chosen is None:
            return []
        (stream,) = (s for s in container.streams.subtitles if s.index == chosen.number)
        place = Path(f"{path} track {chosen.number}")
        events = _events(container, stream, place, report)
        return [*sound_subtitles(_cues(chosen.kind, events, place, report), report)]


def _events(
    container: av.container.InputContainer, stream: SubtitleStream, place: Path, report: Report
) -> Iterator[_Event]:
    unit = stream.time_base or Fraction(1, av.time_base)
    start = Fraction(container.start_time or 0, av.time_base)
    try:
        for packet in container.demux(stream):
            if not packet.size:  # It marks the end.
                continue
            if packet.pts is None:
                report.add(MISTAKE, f"{place}: it has no time")
                continue
            begins = packet.pts * unit - start
            ends = begins + max(packet.duration or 0, 0) * unit
            yield _Event(float(begins), float(ends), packet)
    except av.error.FFmpegError as error:
        report.add(_DAMAGED, f"{place} ({error.strerror})", is_listed=True)


def _cues(kind: str, events: Iterator[_Event], place: Path, report: Report) -> Cues:
    """Reads a track as files of its kind are read."""
    if kind in ("srt", "subrip"):
        return read_subrip(place, _as_file(events, ","), report)
    if kind == "webvtt":
        return read_webvtt(place, f"WEBVTT\n\n{_as_file(events, '.')}", report)
    if kind == "mov_text":
        return _timed_text(events, place)
    return cues_of_dialogue(_dialogue(events, place, report), report)


def _as_file(events: Iterator[_Event], point: str) -> str:
    """Returns the text that a file of SubRip or WebVTT would have."""
    blocks = []
    for number, event in enumerate(events, 1):
        # An empty line would end the subtitle.
        lines = filter(str.strip, _text(bytes(event.packet)).splitlines())
        start, end = _clock(event.start, point), _clock(event.end, point)
        blocks.append("\n".join([str(number), f"{start} --> {end}", *lines, "\n"]))
    return "".join(blocks)


def _timed_text(events: Iterator[_Event], place: Path) -> Cues:
    """Reads MPEG-4 Timed Text: two bytes of length, the text, and styles."""
    for number, event in enumerate(events):
        content = bytes(event.packet)
        length = int.from_bytes(content[:2], "big")
        # Without text, a packet ends the one before.
        if length:
            lines = lines_of(_text(content[2 : 2 + length]))
            yield f"{place} subtitle {number}", Cue(event.start, event.end, lines)


def _dialogue(
    events: Iterator[_Event], place: Path, report: Report
) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Yields events of SubStation Alpha, which FFmpeg makes of all other kinds of text."""
    for number, event in enumerate(events):
        where = f"{place} subtitle {number}"
        try:
            decoded: list[Any] = event.packet.decode()
        except av.error.FFmpegError as error:
            report.add(MISTAKE, f"{where}: {error.strerror}")
            continue
        for shown in decoded:
            # Its order and its layer, then what a file has after the times.
            _, layer, *rest = _text(shown.ass).split(",", len(FIELDS) - 2)
            values = [layer, _clock(event.start, "."), _clock(event.end, "."), *rest]
            yield where, FIELDS, [value.strip() for value in values]


def _text(content: bytes) -> str:
    is_utf16 = content[:2] in (b"\xfe\xff", b"\xff\xfe")
    return content.decode("utf-16" if is_utf16 else "utf-8", "replace")


def _clock(seconds: float, point: str) -> str:
    """Returns a time in milliseconds, as files of subtitles have it."""
    whole, milliseconds = divmod(round(abs(seconds) * 1000), 1000)
    sign = "-" if seconds < 0 else ""
    clock = f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{sign}{clock}{point}{milliseconds:03}"
