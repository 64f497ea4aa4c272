"""Annotations of Charades-STA as they are published: lines `VIDEO start end##sentence`."""

import re
import reprlib
from collections.abc import Iterator
from pathlib import Path

from data.schema import RawQuery
from data.sources.annotations.base import NUMBER, Annotation, AnnotationForm
from data.sources.json_files import Mistake, check_moment, open_text, required_text

_LINE = re.compile(rf"(\S+)\s{NUMBER}\s{NUMBER}##(.*)")

# The query's id, which is made of the file's name and the line, and the line.
Row = tuple[str, str]


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path} line {number}", (f"{path.stem}-{number}", line.strip())


def _parse(row: Row, where: str) -> Annotation:
    query_id, line = row
    match = _LINE.fullmatch(line)
    if match is None:
        raise Mistake(f"it has to be VIDEO start end##sentence, not {reprlib.repr(line)}")
    video_id, start, end, sentence = match.groups()
    query = RawQuery(
        query_id=query_id,
        clip_id=video_id,
        text=required_text({"sentence": sentence.strip()}, "sentence"),
        moments=(check_moment(float(start), float(end), "start to end"),),
    )
    return Annotation(query, where)


FORM = AnnotationForm(
    name="charades",
    help="Charades-STA, lines of VIDEO start end##sentence",
    query_type="query",
    rows=_rows,
    parse=_parse,
)
