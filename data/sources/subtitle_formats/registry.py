"""The formats of subtitles, and how the format of a file is known."""

import re
from pathlib import Path

from data.sources.subtitle_formats.base import ReadText
from data.sources.subtitle_formats.cues import read_subrip, read_webvtt
from data.sources.subtitle_formats.frames import read_microdvd
from data.sources.subtitle_formats.markup import read_xml
from data.sources.subtitle_formats.speech import read_json_subtitles
from data.sources.subtitle_formats.substation import read_substation
from data.sources.subtitle_formats.subviewer import TIMES, read_subviewer
from data.sources.subtitle_formats.table import read_csv, read_tsv

# Files of a video with one of these names are taken before the others: they have always been read.
FIRST_EXTENSIONS = (".srt", ".vtt", ".csv")
_XML = (".ttml", ".dfxp", ".itt", ".xml", ".srv1", ".srv2", ".srv3")
_JSON = (".json", ".json3")
EXTENSIONS = (*FIRST_EXTENSIONS, ".ass", ".ssa", ".sub", ".sbv", ".tsv", *_XML, *_JSON)
# Files in which yt-dlp describes a video.
_DESCRIPTIONS = (".info.json", ".live_chat.json")
# What a file of each format begins with; the names of files are often wrong.
_BEGINNINGS: tuple[tuple[re.Pattern[str], ReadText], ...] = (
    (re.compile(r"\[(Script Info|V4\+? Styles|Events)\]", re.IGNORECASE), read_substation),
    (re.compile(r"(\{DEFAULT\}[^\n]*\n\s*)?\{\d+\}\{\d*\}", re.IGNORECASE), read_microdvd),
    (re.compile(r"<\?xml|<(\w+:)?(tt|timedtext|transcript)\b"), read_xml),
    (TIMES, read_subviewer),
    (re.compile(r"\[INFORMATION\]", re.IGNORECASE), read_subviewer),
)


def is_subtitles(name: str) -> bool:
    """Returns whether a file of this name is read as subtitles of a video."""
    return name.lower().endswith(EXTENSIONS) and not name.lower().endswith(_DESCRIPTIONS)


def reader_of(file: Path, text: str) -> ReadText:
    """Returns the reader for the text of a file: by what it begins with, and else by its name."""
    extension = file.suffix.lower()
    if extension == ".csv":
        return read_csv
    if extension == ".tsv":
        return read_tsv
    if text.startswith("WEBVTT"):
        return read_webvtt
    begins = text.lstrip()
    for beginning, read in _BEGINNINGS:
        if beginning.match(begins):
            return read
    if extension in _JSON:
        return read_json_subtitles
    if extension in _XML:
        return read_xml
    if extension in (".ass", ".ssa"):
        return read_substation
    return read_subrip
