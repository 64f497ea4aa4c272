"""Makes a submission of the predictions that evaluations of runs have left."""

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.arguments import user_path
from data.errors import InputError
from data.files import replacing, writing_to
from data.schema import SPLIT_NAMES
from data.sources.json_files import Mistake, as_object, read_json, read_json_lines
from hero_jax.metrics.contents import CONTENTS, read_contents
from hero_jax.value.files import video_numbers
from hero_jax.value.tasks import TASKS, ValueTask

# The files have no time, so that the same predictions give the same archive.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class _Found:
    """A file of predictions of a task."""

    task: ValueTask
    path: Path


def submit(
    runs: Sequence[tuple[str, Path]], phase: str, folder: Path | None, out: Path
) -> dict[str, Path]:
    """Writes the zip file of a submission.

    Args:
      runs: pairs of a task's name, or '' for the tasks whose datasets have their names, and the
        workdir of a run or one of its folders of predictions.
      phase: 'val' or 'test'.
      folder: folder of `TASK_video2dur_idx.json` of the tasks of retrieval; None if there are none.
      out: file to write.

    Returns:
      The predictions that were taken, by the name of the task.

    Raises:
      InputError: predictions are missing, or can be taken of several runs or steps.
    """
    found: dict[str, Path] = {}
    files = {}
    for name, run in runs:
        for one in _predictions(name, user_path(run), phase):
            if one.task.name in found:
                raise InputError(
                    f"{found[one.task.name]} and {one.path} are both of {one.task.name}: name one"
                )
            found[one.task.name] = one.path
            files[one.task.file(phase)] = _converted(one, folder)
    with (
        writing_to(out, "name another file"),
        replacing(out) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
    ):
        for file, text in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(file, _TIME), text, zipfile.ZIP_DEFLATED)
    return found


def _predictions(name: str, run: Path, phase: str) -> list[_Found]:
    """Returns the files of predictions of a run's tasks.

    Raises:
      InputError: there are none of the phase's splits, or those of several steps.
    """
    if name and name not in TASKS:
        raise InputError(f"{name!r} is no task of VALUE: choose of {', '.join(TASKS)}")
    folders = [run] if (run / CONTENTS).is_file() else sorted(run.glob("predictions-*"))
    places: dict[str, Path] = {}
    for folder in folders:
        if not (folder / CONTENTS).is_file():
            continue
        for part in read_contents(folder):
            task = TASKS.get(name or part.dataset)
            if task is None or part.split != SPLIT_NAMES[task.splits[phase]]:
                continue
            if task.name in places:
                raise InputError(
                    f"{run} has several predictions of {task.name}, as {places[task.name].parent} "
                    f"and {folder}: name one of these folders"
                )
            places[task.name] = folder / part.files[0]
    if not places:
        splits = {n: task.splits[phase] for n, task in TASKS.items() if not name or n == name}
        wanted = ", ".join(f"{n} {SPLIT_NAMES[split]}" for n, split in splits.items())
        raise InputError(
            f"{run} has no predictions of a task's {phase} split ({wanted}): evaluate it with "
            "data.eval_split set to that, or name the task as TASK=RUN"
        )
    return [_Found(TASKS[task], path) for task, path in places.items()]


def _converted(found: _Found, folder: Path | None) -> str:
    """Returns the text of a file of the submission."""
    task, path = found.task, found.path
    if task.group == "captioning":
        return "".join(f"{json.dumps(line)}\n" for line in _captions(path))
    try:
        content = as_object(read_json(path), "it")
    except Mistake as mistake:
        raise InputError(f"{path} cannot be used, {mistake}: evaluate again") from mistake
    if task.group == "qa":
        return json.dumps({str(name): int(answer) for name, answer in content.items()})
    if folder is None:
        raise InputError(
            f"the videos of {task.name} have no numbers: name the folder of "
            f"{task.name}_video2dur_idx.json"
        )
    return json.dumps(_rankings(task, content, video_numbers(task, folder), path))


def _captions(path: Path) -> list[dict[str, Any]]:
    lines = []
    for _, row in read_json_lines(path):
        if isinstance(row, Mistake):
            raise InputError(f"{path} cannot be used, {row}: evaluate again")
        # Only captions of moments have times.
        lines.append({name: value for name, value in row.items() if value is not None})
    return lines


def _rankings(
    task: ValueTask, content: Mapping[str, Any], numbers: Mapping[str, int], path: Path
) -> dict[str, Any]:
    """Returns rankings with VALUE's numbers of the videos in place of those of the run."""
    names = {number: name for name, number in content["video2idx"].items()}
    unknown = [name for name in names.values() if name not in numbers]
    if unknown:
        raise InputError(
            f"{path} ranks {unknown[0]}, which {task.name}_video2dur_idx.json does not list: build "
            "the dataset with the videos of that file, by --splits"
        )
    lists = ("VCMR", "VR") if task.has_moments else ("VR",)
    missing = [name for name in lists if name not in content]
    if missing:
        raise InputError(f"{path} has no {missing[0]}: it is of a task that ranks clips alone")
    result: dict[str, Any] = {}
    for name in lists:
        result[name] = [
            {
                "desc_id": entry["desc_id"],
                "predictions": [
                    [numbers[names[clip]], start, end] if name == "VCMR" else numbers[names[clip]]
                    for clip, start, end, _ in entry["predictions"]
                ],
            }
            for entry in content[name]
        ]
    return result
