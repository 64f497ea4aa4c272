"""Does tasks on a runner of Apache Beam, whose machines all see the same folder."""

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from data.errors import InputError
from data.files import replacing

# Beam warns at import about what only Google's cloud needs.
logging.disable(logging.WARNING)
try:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions
finally:
    logging.disable(logging.NOTSET)

# Content of the file that reports a failure, if the failure is an interrupt.
_INTERRUPT = "interrupt"

Task = TypeVar("Task")


def do_tasks(
    folder: Path,
    do: Callable[[Path, Task], None],
    tasks: Mapping[str, Task],
    options: Sequence[str],
) -> None:
    """Does tasks in a Beam pipeline; each leaves its result in a folder.

    Args:
      folder: folder of the results.
      do: a module's function of this folder and a task.
      tasks: tasks by name, which is part of the names of files.
      options: options of the pipeline, each as `--name=value`.

    Raises:
      InputError: a task cannot be done.
      KeyboardInterrupt: a worker was interrupted.
    """
    failure = _failure_path(folder)
    failure.unlink(missing_ok=True)
    # Tasks are files because a pipeline has to be small.
    for name, task in tasks.items():
        _task_path(folder, name).write_bytes(pickle.dumps((do, task)))
    with apache_beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        _ = (
            pipeline
            | apache_beam.Create([(str(folder), name) for name in tasks])
            | apache_beam.Reshuffle()
            | apache_beam.MapTuple(_do_task)
        )
    if failure.exists():
        sentence = failure.read_text()
        if sentence == _INTERRUPT:
            raise KeyboardInterrupt
        raise InputError(sentence)


def _do_task(folder_name: str, name: str) -> None:
    """Does one task; leaves a failure as a file for `do_tasks`, and does nothing after one.

    Runners wrap errors, so that their sentences would be lost.
    """
    folder = Path(folder_name)
    if _failure_path(folder).exists():
        return
    try:
        do, task = pickle.loads(_task_path(folder, name).read_bytes())
        do(folder, task)
        _task_path(folder, name).unlink()
    except InputError as error:
        _report_failure(folder, str(error))
    except KeyboardInterrupt:
        _report_failure(folder, _INTERRUPT)


def _report_failure(folder: Path, sentence: str) -> None:
    with replacing(_failure_path(folder)) as temporary:
        temporary.write_text(sentence)


def _failure_path(folder: Path) -> Path:
    return folder / "failure"


def _task_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.task"
