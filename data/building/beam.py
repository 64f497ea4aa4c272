"""Makes shards on worker processes of this machine or on a Beam runner, and resumes."""

import contextlib
import dataclasses
import json
import logging
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from data.building.shards import Outcome, Result, ShardTask
from data.errors import InputError
from data.files import NO_ROOM, replacing, writing_to
from data.progress import progress
from data.records import tfrecord

STOPPED = "stopped: run the same command again, it goes on where it was"
ROOM_ADVICE = "make room and run the same command again, it goes on with the shard that it was at"
SECONDS_BETWEEN_LOOKS = 0.5
# To start a process takes as long as to make about so many shards.
SHARDS_WORTH_A_WORKER = 2


def write_shards(
    folder: Path,
    tasks: Sequence[ShardTask],
    label: str,
    workers: int,
    beam_options: Sequence[str] = (),
) -> list[Result]:
    """Does all tasks that are not done.

    Args:
      folder: where shards and results lie, and what the workers have to share.
      tasks: each with a name of its own.
      label: what the tasks' items are, for the progress.
      workers: processes on this machine; 1 works in this one.
      beam_options: of a Beam pipeline, in place of `workers`.

    Returns:
      What became of each task, in order.

    Raises:
      InputError: one of the tasks cannot be done; those done before it stay.
    """
    beam = _import_beam()
    (folder / "failure").unlink(missing_ok=True)
    todo = [task for task in tasks if not _is_done(folder, task)]
    if 0 < len(todo) < len(tasks):
        kept = len(tasks) - len(todo)
        logging.warning("%d of %d shards of %s are done already.", kept, len(tasks), label)
    if todo:
        # Tasks are files, since a pipeline has to be small.
        for task in todo:
            _result_path(folder, task.name).unlink(missing_ok=True)
            (folder / f"{task.name}.task").write_bytes(pickle.dumps(task))
        workers = min(workers, max(len(todo) // SHARDS_WORTH_A_WORKER, 1))
        apart = workers > 1 and not beam_options
        options = beam.options.pipeline_options.PipelineOptions(
            beam_options or _local_options(workers)
        )
        with (
            _stderr_to(folder / "workers.log") if apart else contextlib.nullcontext() as shown,
            _Watch(folder, tasks, label, shown),
            beam.Pipeline(options=options) as pipeline,
        ):
            _ = (
                pipeline
                | beam.Create([(str(folder), task.name) for task in todo])
                | beam.Reshuffle()
                | beam.MapTuple(do_task)
            )
    if (folder / "failure").exists():
        raise InputError((folder / "failure").read_text())
    return [_load_result(folder, task.name) for task in tasks]


def _import_beam():
    # It warns of what only Google's cloud needs.
    logging.disable(logging.WARNING)
    try:
        import apache_beam
        import apache_beam.options.pipeline_options

        return apache_beam
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _stderr_to(path: Path) -> Iterator[TextIO]:
    """What other processes and threads report goes to a file; gives the stream that is still seen.

    It stays so if the program is being stopped, for then they report much more.
    """
    ours, hook = sys.stderr, threading.excepthook
    ours.flush()
    log, shown = path.open("a", buffering=1), os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(log.fileno(), 2)
    threading.excepthook = lambda args: traceback.print_exception(args.exc_value, file=log)
    try:
        yield shown
    except KeyboardInterrupt:
        sys.stderr = shown
        raise
    except BaseException:
        _restore(ours, hook, shown, log)
        raise
    else:
        _restore(ours, hook, shown, log)


def _restore(ours: TextIO, hook, shown: TextIO, log: TextIO) -> None:
    ours.flush()
    os.dup2(shown.fileno(), 2)
    threading.excepthook = hook
    shown.close()
    log.close()


def _local_options(workers: int) -> list[str]:
    mode = "in_memory" if workers == 1 else "multi_processing"
    return [
        "--runner=DirectRunner",
        f"--direct_num_workers={workers}",
        f"--direct_running_mode={mode}",
    ]


def do_task(folder: str, name: str) -> None:
    """Makes one shard and its result; a failure is left for whoever waits, and stops the others."""
    folder = Path(folder)
    if (folder / "failure").exists():
        return
    try:
        task = pickle.loads((folder / f"{name}.task").read_bytes())
        identity, outcome, count = task.identity(), Outcome(), 0
        with replacing(folder / name) as temporary, temporary.open("xb") as file:
            for data in task.records(outcome):
                file.write(tfrecord.record(data))
                count += 1
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        result = Result(
            identity,
            count,
            size,
            outcome.skipped,
            dict(outcome.totals),
            outcome.left_out.to_json(),
        )
        with replacing(_result_path(folder, name)) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(result)))
        (folder / f"{name}.task").unlink()
    except (InputError, OSError) as error:
        _fail(folder, error)
    except KeyboardInterrupt:
        # Beam would make an error of it that nobody could tell from others.
        _fail(folder, InputError(STOPPED))


def _fail(folder: Path, error: Exception) -> None:
    """Leaves a sentence about the first failure."""
    try:
        with writing_to(folder, ROOM_ADVICE, NO_ROOM):
            raise error
    except InputError as sentence:
        with replacing(folder / "failure") as temporary:
            temporary.write_text(str(sentence))


def _is_done(folder: Path, task: ShardTask) -> bool:
    """Whether there is a whole shard made from what the task would make it from now."""
    try:
        result = _load_result(folder, task.name)
        whole = (folder / task.name).stat().st_size == result.size
    except (OSError, ValueError, TypeError):
        return False
    return whole and (task.may_skip or not result.skipped) and result.identity == task.identity()


def _load_result(folder: Path, name: str) -> Result:
    return Result(**json.loads(_result_path(folder, name).read_text()))


def _result_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


class _Watch:
    """Shows how far the tasks are, from the results that appear."""

    def __init__(self, folder: Path, tasks: Sequence[ShardTask], label: str, shown: TextIO | None):
        self._folder, self._tasks, self._label, self._shown = folder, tasks, label, shown
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception) -> None:
        self._over.set()
        self._thread.join()

    def _show(self) -> None:
        total = sum(map(len, self._tasks))
        for _ in progress(self._finished(), self._label, total, self._shown):
            pass

    def _finished(self) -> Iterator[None]:
        """An item for each item of a finished task, as they are finished."""
        waiting = {task.name: len(task) for task in self._tasks}
        while waiting:
            over = self._over.wait(SECONDS_BETWEEN_LOOKS)
            for name in list(waiting):
                if _result_path(self._folder, name).exists():
                    yield from [None] * waiting.pop(name)
            if over:
                return
