"""The forms that `data/annotations.py` reads: for each, what its rows are and what a row says.

`NAME_rows(path)` finds where each row is and what it holds, or the Mistake in it.
`NAME(row, where)` makes an annotation of that, or raises Mistake. A null field is a missing one.
"""

import csv
import dataclasses
import re
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.errors import InputError
from data.json_files import (
    Mistake,
    as_list,
    as_number,
    as_object,
    as_span,
    as_string,
    check_span,
    choice,
    decode,
    identifier,
    json_file,
    json_lines,
    opened,
    text,
    text_if_any,
    truth,
)
from data.schema import SPLIT_NAMES, RawQuery
from data.windows import PUBLISHED_CLIP_SECONDS

Rows = Iterator[tuple[str, object]]

DIDEMO_SECONDS = 5.0  # of each segment that its annotators chose from
HOW2R_COLUMNS = ("video", "clip", "moment", "query")
HOW2QA_COLUMNS = ("video", "moment", "wrong 1", "wrong 2", "wrong 3", "question", "right")

_NUMBER = r"\s*([0-9]+\.?[0-9]*)\s*"
_BRACKETS = re.compile(rf"\[{_NUMBER}:{_NUMBER}\]")
_DASH = re.compile(f"{_NUMBER}-{_NUMBER}")


@dataclasses.dataclass(frozen=True)
class Annotation:
    """A query as a file of annotations has it, before it is known which clips there are.

    query: `clip_id` is the clip or video as the file calls it, '' if it does not tell.
    where: it stands, for messages: 'FILE line 7' or 'FILE entry 3'.
    split: 'train', 'validation' or 'test' if the file tells, else ''.
    duration: seconds of the clip or video, None if the file does not tell.
    in_video: `clip_id` is a whole video and moments count from its start, where a dataset's clips
      may be parts of it.
    window: first and last second of the part of that video that was shown to annotators, None if
      they saw all of it or the file does not tell.
    """

    query: RawQuery
    where: str
    split: str = ""
    duration: float | None = None
    in_video: bool = False
    window: tuple[float, float] | None = None


def line_rows(path: Path) -> Rows:
    """JSON lines, an object each."""
    for number, row in json_lines(path):
        yield f"{path} line {number}", row


def tvr(row: dict, where: str) -> Annotation:
    """A line of TVR; `ts` is one moment or, where DiDeMo is written this way, a list of them."""
    moments = _moments(row.get("ts"))
    if moments and row.get("vid_name") is None:
        raise Mistake("vid_name is missing where ts is not")
    query = RawQuery(
        query_id=identifier(row, "desc_id"),
        clip_id=text_if_any(row, "vid_name"),
        text=text(row, "desc"),
        moments=moments,
        kind=text_if_any(row, "type"),
    )
    return Annotation(query, where, duration=_duration(row))


def tvc_rows(path: Path) -> Rows:
    """Pairs of a line of TVC and one of its captions, None where captions are kept back."""
    for where, row in line_rows(path):
        if isinstance(row, Mistake):
            yield where, row
        elif row.get("descs") is None:
            yield where, (row, None)
        elif not isinstance(row["descs"], list) or not row["descs"]:
            yield where, Mistake("descs has to be a list of captions, or left out")
        else:
            for index, caption in enumerate(row["descs"]):
                known = isinstance(caption, dict)
                what = (row, caption) if known else Mistake("descs has to hold objects in braces")
                yield f"{where}, descs {index}", what


def tvc(row: tuple[dict, dict | None], where: str) -> Annotation:
    """A caption of TVC, or a moment without one; captions of a moment are a group."""
    moment, caption = row
    group = identifier(moment, "clip_id")
    if caption is None:
        query_id, words, kind = f"clip-{group}", "", ""
    else:
        query_id = identifier(caption, "desc_id")
        words, kind = text(caption, "desc"), text_if_any(caption, "type")
    query = RawQuery(
        query_id=query_id,
        clip_id=text(moment, "vid_name"),
        text=words,
        moments=(as_span(moment.get("ts"), "ts"),),
        kind=kind,
        group=group,
    )
    return Annotation(query, where, duration=_duration(moment))


def tvqa(row: dict, where: str) -> Annotation:
    """A line of TVQA; `ts` is a string, and in some published lines 'nan-nan'."""
    answers = tuple(as_string(row.get(name), name) for name in ("a0", "a1", "a2", "a3", "a4"))
    span = row.get("ts")
    known = span is not None and "nan" not in str(span).lower()
    query = RawQuery(
        query_id=identifier(row, "qid"),
        clip_id=text(row, "vid_name"),
        text=text(row, "q"),
        moments=(_written_span(as_string(span, "ts"), _DASH, "ts"),) if known else (),
        answers=answers,
        label=choice(row, "answer_idx", len(answers)),
    )
    return Annotation(query, where)


def violin_rows(path: Path) -> Rows:
    """The statements of VIOLIN from JSON lines, or in that form from its one object of clips."""
    with opened(path) as file:
        content = file.read()
    try:
        clips = decode(content)
    except Mistake:  # More than one line.
        clips = None
    if not isinstance(clips, dict) or "desc_id" in clips:
        yield from line_rows(path)
        return
    for index, (clip_id, clip) in enumerate(clips.items()):
        where = f"{path} entry {index} ({clip_id!r})"
        try:
            pairs = as_list(as_object(clip, "it").get("statement"), "statement")
        except Mistake as mistake:
            yield where, mistake
            continue
        for number, pair in enumerate(pairs):
            here = f"{where}, statement {number}"
            if not isinstance(pair, list) or len(pair) != 2 or None in pair:
                yield here, Mistake("statement has to be a pair of a true and a false one")
                continue
            row = {"vid_name": clip_id, "split": clip.get("split")}
            for label, words in zip((1, 0), pair, strict=True):
                query_id = f"{clip_id}_{number}-{label}"
                yield here, row | {"desc_id": query_id, "desc": words, "label": label}


def violin(row: dict, where: str) -> Annotation:
    """A statement of VIOLIN; the last part of its id tells it from the other one of its pair."""
    query_id = identifier(row, "desc_id")
    group, _, which = query_id.rpartition("-")
    if not group or which not in ("0", "1"):
        raise Mistake(f"desc_id has to end in -0 or -1, which {query_id!r} does not")
    query = RawQuery(
        query_id=query_id,
        clip_id=text(row, "vid_name"),
        text=text(row, "desc"),
        label=truth(row, "label"),
        group=group,
    )
    return Annotation(query, where, split=_split(row))


def how2r(row: dict, where: str) -> Annotation:
    """A row of How2R; moments may end a little after the clip that was shown, or have no length."""
    moment = _written_span(row["moment"], _BRACKETS, "moment")
    window = _written_span(row["clip"], _BRACKETS, "clip")
    query = RawQuery(
        query_id=row["id"],
        clip_id=text(row, "video"),
        text=text(row, "query"),
        moments=(moment,),
    )
    return Annotation(query, where, in_video=True, window=window)


def how2qa(row: dict, where: str) -> Annotation:
    """A row of How2QA; its right answer is the last, its clip the one that its moment begins in."""
    moment = _written_span(row["moment"], _BRACKETS, "moment")
    begins = moment[0] // PUBLISHED_CLIP_SECONDS * PUBLISHED_CLIP_SECONDS
    answers = row["wrong 1"], row["wrong 2"], row["wrong 3"], text(row, "right")
    query = RawQuery(
        query_id=row["id"],
        clip_id=text(row, "video"),
        text=text(row, "question"),
        moments=(moment,),
        answers=answers,
        label=len(answers) - 1,
    )
    window = begins, begins + PUBLISHED_CLIP_SECONDS
    return Annotation(query, where, in_video=True, window=window)


def didemo_rows(path: Path) -> Rows:
    content = json_file(path)
    if not isinstance(content, list):
        raise InputError(
            f"{path} is no list, which is how DiDeMo is published: correct it or name another form"
        )
    return _entries(path, content, "annotation_id")


def didemo(row: object, where: str) -> Annotation:
    """An entry of DiDeMo; a moment is its first and its last segment, for each annotator."""
    row = as_object(row, "it")
    times = as_list(row.get("times"), "times")
    if not times:
        raise Mistake("times is empty")
    query = RawQuery(
        query_id=identifier(row, "annotation_id"),
        clip_id=text(row, "video"),
        text=text(row, "description"),
        moments=tuple(map(_segments, times)),
    )
    return Annotation(query, where)


def msrvtt_rows(path: Path) -> Rows:
    """Pairs of a sentence of MSR-VTT and the videos, by id."""
    content = json_file(path)
    try:
        content = as_object(content, "it")
        videos = as_list(content.get("videos"), "videos")
        sentences = as_list(content.get("sentences"), "sentences")
    except Mistake as mistake:
        raise InputError(
            f"{path} is not as MSR-VTT is published, {mistake}: correct it or name another form"
        ) from mistake
    by_id = {}
    for video in videos:
        if isinstance(video, dict) and isinstance(video.get("video_id"), str):
            by_id.setdefault(video["video_id"], []).append(video)
    for where, sentence in _entries(path, sentences, "sen_id"):
        yield where, (sentence, by_id)


def msrvtt(row: tuple[object, dict[str, list[dict]]], where: str) -> Annotation:
    """A sentence of MSR-VTT; the split and how long it lasts are its video's."""
    sentence = as_object(row[0], "it")
    video_id = text(sentence, "video_id")
    videos = row[1].get(video_id, [])
    if len(videos) != 1:
        raise Mistake(f"video_id {video_id!r} is {len(videos)} times among the videos, not once")
    video = videos[0]
    times = video.get("start time"), video.get("end time")
    duration = None
    if None not in times:
        start, end = as_span([*times], "start time to end time")
        duration = _positive(end - start, "end time - start time")
    query = RawQuery(
        query_id=identifier(sentence, "sen_id"),
        clip_id=video_id,
        text=text(sentence, "caption"),
    )
    return Annotation(query, where, split=_split(video), duration=duration)


def _moments(value: object) -> tuple[tuple[float, float], ...]:
    """One `[start, end]`, a list of them, or none."""
    if value is None:
        return ()
    several = isinstance(value, list) and value and isinstance(value[0], list)
    return tuple(as_span(span, "ts") for span in (value if several else [value]))


def _segments(value: object) -> tuple[float, float]:
    """Seconds of `[first, last]` segment."""
    first, last = as_span(value, "times")
    if not first.is_integer() or not last.is_integer():
        raise Mistake(f"times has to hold whole numbers of segments, not {value!r}")
    return check_span(first * DIDEMO_SECONDS, (last + 1) * DIDEMO_SECONDS, "times")


def _written_span(value: str, pattern: re.Pattern, name: str) -> tuple[float, float]:
    """A span written as `_BRACKETS` or `_DASH`."""
    match = pattern.fullmatch(value)
    if match is None:
        form = "[start:end]" if pattern is _BRACKETS else "start-end"
        raise Mistake(f"{name} has to be {form} in seconds, not {reprlib.repr(value)}")
    return check_span(float(match[1]), float(match[2]), name)


def _duration(row: dict) -> float | None:
    seconds = row.get("duration")
    return None if seconds is None else _positive(as_number(seconds, "duration"), "duration")


def _positive(seconds: float, name: str) -> float:
    if seconds <= 0:
        raise Mistake(f"{name} is {seconds}")
    return seconds


def _split(row: dict) -> str:
    """Our name of the split; '' where the field is missing."""
    name = text_if_any(row, "split")
    if name and name not in SPLIT_NAMES:
        raise Mistake(f"split has to be one of {', '.join(SPLIT_NAMES)}, not {reprlib.repr(name)}")
    return SPLIT_NAMES.get(name, "")


def _entries(path: Path, content: list, id_name: str) -> Rows:
    """The entries of a list; messages give the place of each from 0, and its id if it has one."""
    for index, entry in enumerate(content):
        entry_id = entry.get(id_name) if isinstance(entry, dict) else None
        known = isinstance(entry_id, int | str)
        yield f"{path} entry {index}" + (f" ({entry_id!r})" if known else ""), entry


def csv_rows(path: Path, columns: Sequence[str]) -> Rows:
    """Rows by `columns`, and an `id` from the file's name and the line: a CSV without a header.

    Raises:
      InputError: a quote that is not closed, and so takes the lines that follow for text.
    """
    with opened(path, newline="") as file:
        reader = csv.reader(file, strict=True)
        while True:
            first_line = reader.line_num + 1
            try:
                values = next(reader, None)
            except csv.Error as error:
                if reader.line_num > first_line:
                    raise InputError(
                        f"{path} line {first_line} has a quote that is not closed where it should "
                        f"be (at line {reader.line_num}: {error}): correct it"
                    ) from error
                yield f"{path} line {first_line}", Mistake(f"it is not CSV ({error})")
                continue
            if values is None:
                return
            line = reader.line_num
            if len(values) == len(columns):
                row = dict(zip(columns, values, strict=True))
                yield f"{path} line {line}", row | {"id": f"{path.stem}-{line}"}
            elif values:
                what = f"it has {len(values)} columns instead of {len(columns)}"
                yield f"{path} line {line}", Mistake(what)
