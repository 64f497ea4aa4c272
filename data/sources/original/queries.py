"""Reads the databases in which the original keeps queries, questions, statements and captions."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from data.errors import InputError
from data.report import Report
from data.schema import RawQuery
from data.sources.json_files import (
    Mistake,
    as_list,
    as_number,
    as_span,
    as_string,
    choice,
    identifier,
    json_lines,
    text_if_any,
    truth,
)
from data.sources.original.database import (
    json_object,
    names_of,
    reading,
    token_ids_in,
    unpack,
    usable,
)

# What the queries of the original's tasks are.
_TASKS = {
    **dict.fromkeys(("tvr", "how2r", "didemo", "msrvtt"), "query"),
    **dict.fromkeys(("tvqa", "how2qa"), "question"),
    **{"violin": "statement", "tvc": "caption"},
}
# MSR-VTT has other names for what TVR calls vid_name, desc and desc_id.
_CLIP = ("vid", "vid_name", "clip_name")
_TEXT = ("desc", "caption")
_ID = ("desc_id", "qid", "sen_id", "retrieval_key")


@dataclasses.dataclass(frozen=True)
class StoredQuery:
    """A query, and how many seconds its clip lasts, None if the database does not say."""

    query: RawQuery
    duration: float | None


def read_queries(folder: Path, report: Report) -> tuple[str, list[StoredQuery]]:
    """Reads a database of queries.

    What they are follows from the task in `meta.json`, or else from the first of them; a folder
    with a `cap.db` has captions. What a query lacks is looked up in `query_data.jsonl` and
    `query2video.json`. Moments and durations that are impossible are left out and counted.

    Args:
      folder: with `meta.json` and an LMDB environment, or, of captions, an environment `cap.db`.

    Returns:
      One of `schema.QUERY_TYPES`, and the queries in order of their ids.

    Raises:
      InputError: the folder is no such database, or a query is damaged or lacks a field.
    """
    folder = Path(folder)
    captions = (folder / "cap.db").is_dir()
    database = folder / "cap.db" if captions else folder
    with reading(database) as transaction:
        stored = dict(transaction.cursor())
    task = json_object(folder / "meta.json").get("task")
    clips = folder / "query2video.json"
    clip_of = json_object(clips) if clips.exists() else {}
    annotations = _read_annotations(folder / "query_data.jsonl", report)
    queries = {}
    for query_id in names_of(stored, database):
        value = unpack(stored[query_id.encode()], f"{database}, query {query_id}")
        queries[query_id] = {"vid": clip_of.get(query_id)} | annotations.get(query_id, {}) | value
    if not queries:
        raise InputError(f"{database} holds no queries: name another")
    query_type = "caption" if captions else _TASKS.get(str(task))
    query_type = query_type or _guess_type(*next(iter(queries.items())))
    parsed = []
    for query_id, value in queries.items():
        where = f"{database}, query {query_id}"
        with usable(where):
            query = _parse_query(query_type, query_id, value, where, report)
        parsed.append(StoredQuery(query, _duration(value.get("duration"), where, report)))
    return query_type, parsed


def _read_annotations(path: Path, report: Report) -> dict[str, dict]:
    """The lines of a `query_data.jsonl` by query, none if it does not exist."""
    annotations = {}
    for number, row in json_lines(path) if path.exists() else ():
        try:
            if isinstance(row, Mistake):
                raise row
            annotations[identifier({"id": _first(row, _ID)}, "id")] = row
        except Mistake as mistake:
            report.add("annotations with a mistake: not used", f"{path} line {number}: {mistake}")
    return annotations


def _guess_type(query_id: str, value: dict) -> str:
    match value.get("input_ids"):
        case [[*_], *_]:
            return "question"
    if "label" in value or isinstance(value.get("target"), int) or _pair_id(query_id):
        return "statement"
    return "query"


def _parse_query(
    query_type: str, query_id: str, value: dict, where: str, report: Report
) -> RawQuery:
    if query_type == "question":
        content = _parse_question(value)
    else:
        content = {
            "text": as_string(_first(value, _TEXT), "desc"),
            "token_ids": token_ids_in(value.get("input_ids")),
        }
    if query_type == "statement":
        content["label"] = truth({"target": _first(value, ("target", "label"))}, "target")
        content["group"] = _pair_id(query_id)
    elif query_type == "caption":
        content["group"] = identifier(value, "clip_id")
    # The target of a question or statement is the right answer.
    times = ("ts", "target") if query_type == "query" else ("ts",)
    return RawQuery(
        query_id=query_id,
        clip_id=text_if_any({"vid": _first(value, _CLIP)}, "vid"),
        moments=_moments(_first(value, times), where, report),
        kind=text_if_any(value, "type"),
        **content,
    )


def _parse_question(value: dict) -> dict:
    ids = [token_ids_in(part) for part in as_list(value.get("input_ids"), "input_ids")]
    if not ids:
        raise Mistake("input_ids is empty")
    answers = [as_string(value.get(f"a{i}"), f"a{i}") for i in range(len(ids) - 1)]
    right = {"answer_idx": _first(value, ("answer_idx", "target"))}
    return {
        "text": as_string(value.get("q"), "q"),
        "token_ids": ids[0],
        "answers": tuple(answers),
        "answer_token_ids": tuple(ids[1:]),
        "label": choice(right, "answer_idx", len(answers)),
    }


def _pair_id(statement_id: str) -> str:
    """What a statement's id shares with its opposite's, of `ID-0` and `ID-1`; '' if nothing."""
    match = re.fullmatch(r"(.+)-[01]", statement_id, re.DOTALL)
    return match[1] if match else ""


def _moments(stored: object, where: str, report: Report) -> tuple[tuple[float, float], ...]:
    """The moment, or one from each annotator; those with impossible times are left out."""
    several = isinstance(stored, list) and stored and isinstance(stored[0], list)
    moments = []
    for moment in stored if several else [] if stored is None else [stored]:
        try:
            # Of questions they are written 'START-END'.
            split = isinstance(moment, str)
            seconds = [float(second) for second in moment.split("-")] if split else moment
            moments.append(as_span(seconds, "ts"))
        except ValueError:
            report.add("moments with impossible times: not used", f"{where}: ts is {moment!r}")
    return tuple(moments)


def _duration(stored: object, where: str, report: Report) -> float | None:
    if stored is None:
        return None
    try:
        seconds = as_number(stored, "duration")
        if seconds <= 0:
            raise Mistake(f"duration is {seconds}")
    except Mistake as mistake:
        report.add("impossible durations: not used", f"{where}: {mistake}")
        return None
    return seconds


def _first(record: dict, names: Sequence[str]):
    """The first of these fields that is there and not None; None if none is."""
    return next((record[name] for name in names if record.get(name) is not None), None)
