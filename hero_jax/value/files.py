"""Reads what VALUE publishes, references and numbers of videos, and files of submissions."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.report import Report
from data.schema import RawQuery
from data.sources.annotations.registry import MISTAKE, read_annotations
from data.sources.json_files import Mistake, as_list, as_object, read_json, read_json_lines
from hero_jax.value.tasks import ValueTask


def references(task: ValueTask, phase: str, folder: Path) -> list[RawQuery] | None:
    """Returns the annotations of a split, None if they are not in a folder or have no labels.

    Raises:
      InputError: two files can be meant, or a row of the file cannot be used.
    """
    split = re.escape(task.splits[phase])
    name = re.compile(rf"{task.name}_{split}(_1k)?(_release)?\.jsonl")
    paths = [
        path for path in sorted(folder.rglob(f"{task.name}_*.jsonl")) if name.fullmatch(path.name)
    ]
    if len(paths) > 1:
        raise InputError(f"{paths[0]} and {paths[1]} are of one split: keep one of them")
    if not paths:
        return None
    report = Report()
    _, annotations = read_annotations(paths[0], task.form, report)
    if report.counts.get(MISTAKE):
        example = report.examples[MISTAKE][0]
        raise InputError(f"{paths[0]} cannot be scored with ({example}): copy it again")
    queries = [annotation.query for annotation in annotations]
    return queries if all(_is_labelled(task, query) for query in queries) else None


def _is_labelled(task: ValueTask, query: RawQuery) -> bool:
    if task.group == "qa":
        return query.label >= 0
    if task.group == "captioning":
        return bool(query.text)
    return bool(query.clip_id and (query.moments or not task.has_moments))


def video_numbers(task: ValueTask, folder: Path) -> dict[str, int]:
    """Returns the number of each video in submissions, of `TASK_video2dur_idx.json`.

    Raises:
      InputError: the file is missing, or is not `{split: {video: [seconds, number]}}`.
    """
    path = next(folder.rglob(f"{task.name}_video2dur_idx.json"), None)
    if path is None:
        raise InputError(
            f"{folder} has no {task.name}_video2dur_idx.json, which gives videos their numbers: "
            "copy it there from VALUE's data"
        )
    numbers = {}
    try:
        for split, videos in as_object(read_json(path), "it").items():
            for name, entry in as_object(videos, split).items():
                match entry:
                    case [_, int(number)]:
                        numbers[name] = number
                    case _:
                        raise Mistake(f"{name} of {split} has to be [seconds, number]")
    except Mistake as mistake:
        raise InputError(f"{path} cannot be used, {mistake}: copy it again") from mistake
    return numbers


class Predictions:
    """A file of predictions; each wrong entry is an error that names it."""

    def __init__(self, path: Path):
        """Takes the path of a file."""
        self.path = path

    def error(self, what: str) -> InputError:
        """Returns the error of something in the file."""
        return InputError(f"{self.path}: {what}: correct the submission")

    def object(self) -> dict[str, Any]:
        """Returns the object of a JSON file."""
        try:
            return as_object(read_json(self.path), "it")
        except Mistake as mistake:
            raise self.error(str(mistake)) from mistake

    def rankings(self, name: str) -> dict[str, list[Any]]:
        """Returns the predictions of each query in a list of the object, by the query's id."""
        found: dict[str, list[Any]] = {}
        try:
            for entry in as_list(self.object().get(name), name):
                query_id = str(as_object(entry, name).get("desc_id"))
                if query_id in found:
                    raise Mistake(f"{name} has query {query_id} twice")
                found[query_id] = as_list(entry.get("predictions"), f"{name} of query {query_id}")
        except Mistake as mistake:
            raise self.error(str(mistake)) from mistake
        return found

    def captions(self) -> dict[str, str]:
        """Returns the first caption of each line, by the clip's id."""
        found = {}
        for number, row in self._lines():
            match row:
                case {"clip_id": int(clip) | str(clip), "descs": [{"desc": str(text)}, *_]}:
                    if str(clip) in found:
                        raise self.error(f"line {number} has clip {clip} again")
                    found[str(clip)] = text
                case _:
                    raise self.error(
                        f'line {number} has to be {{"clip_id": ID, "descs": [{{"desc": TEXT}}]}}'
                    )
        return found

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in read_json_lines(self.path):
            if isinstance(row, Mistake):
                raise self.error(f"line {number}: {row}")
            yield number, row

    def check_ids(self, found: set[str], expected: set[str], what: str) -> None:
        """Raises InputError unless predictions are about all that is asked, and nothing else."""
        for ids, said in ((expected - found, "is missing"), (found - expected, "is not asked")):
            if ids:
                raise self.error(f"{what} {min(ids)} {said}, and {len(ids) - 1} more")
