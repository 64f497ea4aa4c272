"""The file beside an evaluation's predictions that names their data and tasks."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from data.errors import InputError
from data.sources.json_files import read_json

# File of a folder of predictions.
CONTENTS = "contents.json"


@dataclasses.dataclass(frozen=True)
class PredictionsOf:
    """A task's part of a folder of predictions.

    dataset, split: what was predicted.
    kind: of the task, in the registry.
    files: names of its files.
    """

    dataset: str
    split: str
    kind: str
    files: Sequence[str]


def contents(step: int, parts: Sequence[PredictionsOf]) -> str:
    """Returns the file's text for the predictions of a checkpoint."""
    tasks = [dataclasses.asdict(part) for part in parts]
    return json.dumps({"step": step, "tasks": tasks}, indent=1)


def read_contents(folder: Path) -> list[PredictionsOf]:
    """Returns what the predictions in a folder are of.

    Raises:
      InputError: the file cannot be read, or says something else.
    """
    path = folder / CONTENTS
    parts = []
    match read_json(path):
        case {"tasks": [*entries]}:
            for entry in entries:
                match entry:
                    case {
                        "dataset": str(dataset),
                        "split": str(split),
                        "kind": str(kind),
                        "files": [str(), *_] as files,
                    }:
                        parts.append(PredictionsOf(dataset, split, kind, files))
    if not parts:
        raise InputError(
            f"{path} does not say what the predictions beside it are of: evaluate again"
        )
    return parts
