"""Readers of a file of subtitles, and the reasons under which subtitles are left out."""

import re
from pathlib import Path

from data.report import Report
from data.sources.subtitles import open_subtitles

MISTAKE = "subtitles with a mistake: left out"
NO_TEXT = "subtitles without text: left out"
STRAY = "text outside of subtitles: left out"
REPEATS = "rolling captions that repeat the one before them: repeated words left out"
UNREADABLE = "files of subtitles that cannot be read: their videos are kept without subtitles"
DETECTED = "files of subtitles that are not UTF-8: read in the encoding that they seem to have"


def read_file(
    folder: Path,
    name: str,
    content: str | bytes,
    *,
    video_id: str = "a",
    encoding: str | None = None,
) -> tuple[list, Report]:
    """Reads (start, end, text) of each subtitle of a video from one file, and the report."""
    content = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(content)
    report = Report()
    subtitles = open_subtitles(folder, encoding=encoding).read(video_id, report)
    return [(s.start, s.end, s.text) for s in subtitles], report


def read_cues(folder: Path, name: str, content: str | bytes, **settings: str) -> list:
    """Reads the same, and checks that nothing is left out."""
    cues, report = read_file(folder, name, content, **settings)
    assert report.counts == {}
    return cues


LINE = {"vid_name": "a", "sub": [{"text": "first", "start": 0, "end": 1}]}


def check_example(report: Report, reason: str, folder: Path, pattern: str) -> None:
    """Checks that a report has one example of a reason, which names a file of the folder."""
    (example,) = report.examples[reason]
    assert example.startswith(str(folder))
    assert re.search(pattern, example)
