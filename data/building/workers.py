"""Makes all shards of a dataset that are not made yet, on processes of this machine.

Where options of Apache Beam are given, its runner does the work instead: see `data.building.beam`.
"""

import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from data.building.shards import (
    ShardResult,
    ShardTask,
    is_made,
    load_result,
    make_shard,
    result_path,
)
from data.errors import InputError
from data.progress import progress

# Sentence of the commands that build, when the user interrupts them.
STOPPED = "stopped: run the same command again, it continues where it stopped"
SECONDS_BETWEEN_LOOKS = 0.5
# Starting a process takes about as long as making this many shards.
SHARDS_WORTH_A_WORKER = 2


def write_shards(
    folder: Path,
    tasks: Sequence[ShardTask],
    label: str,
    workers: int,
    beam_options: Sequence[str] = (),
) -> list[ShardResult]:
    """Does all tasks that are not done.

    Args:
      folder: folder of the shards, the results and the files that the workers share.
      tasks: tasks with different names.
      label: name of the tasks' items, for the progress.
      workers: number of processes on this machine; 1 works in this process.
      beam_options: options of an Apache Beam pipeline that does the work instead of `workers`.

    Returns:
      The result of each task, in order.

    Raises:
      InputError: a task cannot be done; the shards that were made before it stay.
      KeyboardInterrupt: the user interrupts the work; finished shards stay.
    """
    todo = [task for task in tasks if not is_made(folder, task)]
    if 0 < len(todo) < len(tasks):
        kept = len(tasks) - len(todo)
        logging.warning("%d of %d shards of %s are done already.", kept, len(tasks), label)
    for task in todo:
        result_path(folder, task.name).unlink(missing_ok=True)
    if todo:
        workers = min(workers, max(len(todo) // SHARDS_WORTH_A_WORKER, 1))
        results = {result_path(folder, task.name): len(task) for task in tasks}
        with showing_progress(results, label):
            if beam_options:
                # Beam takes seconds to import, and a local build never needs it.
                from data.building import beam

                tasks_by_name = {task.name: task for task in todo}
                beam.do_tasks(folder, make_shard, tasks_by_name, beam_options)
            elif workers > 1:
                _make_on_processes(folder, todo, workers)
            else:
                for task in todo:
                    make_shard(folder, task)
    return [load_result(folder, task.name) for task in tasks]


def _make_on_processes(folder: Path, tasks: Sequence[ShardTask], workers: int) -> None:
    """Does tasks on worker processes; after a failure they only finish the shards at hand."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
    remaining = iter(tasks)
    failure: BaseException | None = None
    try:
        with _ending_processes_after_interrupt():
            # A task in the pool cannot be taken back, so it gets no more than it can start.
            running = _submit(pool, folder, itertools.islice(remaining, workers))
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                failure = failure or next(filter(None, (task.exception() for task in done)), None)
                if failure is None:
                    running |= _submit(pool, folder, itertools.islice(remaining, len(done)))
        if failure is not None:
            raise failure
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process ended unexpectedly, probably for lack of memory: build again with "
            "fewer workers, finished shards are kept"
        ) from error
    finally:
        pool.shutdown()


def _submit(
    pool: ProcessPoolExecutor, folder: Path, tasks: Iterable[ShardTask]
) -> set[Future[None]]:
    # Worker processes inherit the mask: Ctrl-C reaches this process alone, which then ends them.
    with _interrupts_blocked():
        return {pool.submit(make_shard, folder, task) for task in tasks}


@contextlib.contextmanager
def _ending_processes_after_interrupt() -> Iterator[None]:
    """Ends the processes that are started in the block if Ctrl-C or a bug interrupts it."""
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Delays SIGINT to this thread until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Ends this worker process when its parent process ends, even if that is killed."""

    def end() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


@contextlib.contextmanager
def showing_progress(results: Mapping[Path, int], label: str) -> Iterator[None]:
    """Reports how many items are done, given the file that will show it and how many each shows."""
    over = threading.Event()

    def finished() -> Iterator[None]:
        """Yields once for each item of a file when the file is there."""
        waiting = {**results}
        while waiting:
            last_look = over.wait(SECONDS_BETWEEN_LOOKS)
            for path in list(waiting):
                if path.exists():
                    yield from [None] * waiting.pop(path)
            if last_look:
                return

    def show() -> None:
        for _ in progress(finished(), label, sum(results.values())):
            pass

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
