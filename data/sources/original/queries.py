"""Reads the databases in which the original keeps queries, questions, statements and captions."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.arguments import user_path
from data.errors import InputError
from data.report import Report
from data.schema import RawQuery
from data.sources.json_files import (
    Mistake,
    as_list,
    as_moment,
    as_positive,
    as_string,
    identifier,
    optional_index,
    optional_text,
    optional_truth,
    read_json_lines,
)
from data.sources.original.storage import (
    as_token_ids,
    names_of,
    read_object,
    reading,
    unpack,
    usable,
)

# Query types of the original's tasks.
_TASKS = {
    **dict.fromkeys(("tvr", "how2r", "didemo", "msrvtt", "yc2r", "vatex_en_r"), "query"),
    **dict.fromkeys(("tvqa", "how2qa", "vlep"), "question"),
    **{"violin": "statement", "tvc": "caption"},
}
# Names of the same field in different tasks: MSR-VTT, for one, has others than TVR.
_CLIP = ("vid", "vid_name", "clip_name")
_TEXT = ("desc", "caption", "statement")
_ID = ("desc_id", "qid", "sen_id", "retrieval_key", "example_id")


@dataclasses.dataclass(frozen=True)
class StoredQuery:
    """A query in a database.

    duration: seconds of the query's clip, None if the database does not say.
    """

    query: RawQuery
    duration: float | None


def read_queries(
    folder: Path, report: Report, as_captions: bool = False
) -> tuple[str, list[StoredQuery]]:
    """Reads a database of queries.

    A folder with a `cap.db` has captions. Otherwise the type of the queries follows from the task
    in `meta.json` or, for an unknown task, from the first query. Fields that a query lacks are
    looked up in `query_data.jsonl` and `query2video.json`. Impossible moments and durations are
    left out and counted.

    Args:
      folder: folder with `meta.json` and an LMDB environment, which for captions is `cap.db`.
      report: counts what is left out.
      as_captions: whether queries are read as captions of their whole clips, as YC2C and VATEX-EN-C
        train on the queries of YC2R and VATEX-EN-R.

    Returns:
      The type of the queries, one of `data.schema.QUERY_TYPES`, and the queries in order of ids.

    Raises:
      InputError: the folder is no such database, or a query is damaged or lacks a field.
    """
    folder = user_path(folder)
    has_captions = (folder / "cap.db").is_dir()
    database = folder / "cap.db" if has_captions else folder
    with reading(database) as environment:
        stored = dict(environment.items())
    task = read_object(folder / "meta.json").get("task")
    clips_file = folder / "query2video.json"
    clip_of = read_object(clips_file) if clips_file.exists() else {}
    annotations = _read_annotations(folder / "query_data.jsonl", report)
    queries = {}
    for query_id in names_of(stored, database):
        value = unpack(stored[query_id.encode()], f"{database}, query {query_id}")
        queries[query_id] = {"vid": clip_of.get(query_id)} | annotations.get(query_id, {}) | value
    if not queries:
        raise InputError(f"{database} holds no queries: name another")
    query_type = "caption" if has_captions else _TASKS.get(str(task))
    query_type = query_type or _guess_type(*next(iter(queries.items())))
    if as_captions and query_type == "query":
        query_type = "caption"
        queries = {name: _as_caption(value) for name, value in queries.items()}
    parsed = []
    for query_id, value in queries.items():
        where = f"{database}, query {query_id}"
        with usable(where):
            query = _parse_query(query_type, query_id, value, where, report)
        parsed.append(StoredQuery(query, _duration(value.get("duration"), where, report)))
    return query_type, parsed


def _read_annotations(path: Path, report: Report) -> dict[str, dict[str, Any]]:
    """Returns the lines of a `query_data.jsonl` by query; none if the file does not exist."""
    annotations: dict[str, dict[str, Any]] = {}
    for number, row in read_json_lines(path) if path.exists() else ():
        try:
            if isinstance(row, Mistake):
                raise row
            annotations[identifier({"id": _first(row, _ID)}, "id")] = row
        except Mistake as mistake:
            report.add("annotations with a mistake: not used", f"{path} line {number}: {mistake}")
    return annotations


def _guess_type(query_id: str, value: dict[str, Any]) -> str:
    """Returns the query type that the fields of a query belong to."""
    match value.get("input_ids"):
        case [[*_], *_]:
            return "question"
    if "label" in value or isinstance(value.get("target"), int) or _pair_id(query_id):
        return "statement"
    return "query"


def _as_caption(value: dict[str, Any]) -> dict[str, Any]:
    """Returns a query as a caption of its clip, all captions of which belong together."""
    return value | {"clip_id": _first(value, _CLIP), "ts": None}


def _parse_query(
    query_type: str, query_id: str, value: dict[str, Any], where: str, report: Report
) -> RawQuery:
    content: dict[str, Any]
    if query_type == "question":
        content = _parse_question(value)
    else:
        content = {
            "text": as_string(_first(value, _TEXT), "desc"),
            "token_ids": as_token_ids(value.get("input_ids")),
        }
    if query_type == "statement":
        target = _first(value, ("target", "label", "answer"))
        content["label"] = optional_truth({"target": target}, "target")
        content["group"] = _pair_id(str(value.get("paired_id", query_id)))
    elif query_type == "caption":
        content["group"] = identifier(value, "clip_id")
    # The target of a question or a statement is its label, not a moment. The time of an event is
    # that of what comes before it.
    times = {"query": ("ts", "target")}.get(query_type, () if "events" in value else ("ts",))
    return RawQuery(
        query_id=query_id,
        clip_id=optional_text({"vid": _first(value, _CLIP)}, "vid"),
        moments=_moments(_first(value, times), where, report),
        kind=optional_text(value, "type"),
        **content,
    )


def _parse_question(value: dict[str, Any]) -> dict[str, Any]:
    ids = [as_token_ids(part) for part in as_list(value.get("input_ids"), "input_ids")]
    if "events" in value:
        return _parse_events(value, ids)
    if not ids:
        raise Mistake("input_ids is empty")
    answers = [as_string(value.get(f"a{i}"), f"a{i}") for i in range(len(ids) - 1)]
    right = {"answer_idx": _first(value, ("answer_idx", "target"))}
    return {
        "text": as_string(value.get("q"), "q"),
        "token_ids": ids[0],
        "answers": tuple(answers),
        "answer_token_ids": tuple(ids[1:]),
        "label": optional_index(right, "answer_idx", len(answers)),
    }


def _parse_events(value: dict[str, Any], ids: list[tuple[int, ...]]) -> dict[str, Any]:
    """Returns a question without a text, whose answers are events (VLEP)."""
    events = [as_string(event, "events") for event in as_list(value["events"], "events")]
    if len(events) != len(ids):
        raise Mistake(f"events has {len(events)} entries, input_ids {len(ids)}")
    right = {"answer": _first(value, ("answer", "target"))}
    return {
        "text": "",
        "token_ids": (),
        "answers": tuple(events),
        "answer_token_ids": tuple(ids),
        "label": optional_index(right, "answer", len(events)),
    }


def _pair_id(statement_id: str) -> str:
    """Returns `ID` of a statement with the id `ID-0` or `ID-1`, '' for any other."""
    match = re.fullmatch(r"(.+)-[01]", statement_id, re.DOTALL)
    return match[1] if match else ""


def _moments(stored: object, where: str, report: Report) -> tuple[tuple[float, float], ...]:
    """Returns one moment or those of several annotators, without impossible ones."""
    values: Sequence[Any]
    match stored:
        case None:
            values = ()
        case [[*_], *_]:
            values = stored
        case _:
            values = (stored,)
    moments = []
    for value in values:
        try:
            # Those of questions are written 'START-END'.
            parts = re.split(r"(?<=[^-])-", value) if isinstance(value, str) else None
            moments.append(as_moment(value if parts is None else [*map(float, parts)], "ts"))
        except ValueError:
            report.add("moments with impossible times: not used", f"{where}: ts is {value!r}")
    return tuple(moments)


def _duration(stored: object, where: str, report: Report) -> float | None:
    if stored is None:
        return None
    try:
        return as_positive(stored, "duration")
    except Mistake as mistake:
        report.add("impossible durations: not used", f"{where}: {mistake}")
        return None


def _first(record: dict[str, Any], names: Sequence[str]) -> Any:
    """Returns the first of these fields that is not missing or None, None if all are."""
    return next((record[name] for name in names if record.get(name) is not None), None)
