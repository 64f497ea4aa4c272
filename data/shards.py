"""Shards of records, each made on its own by an Apache Beam pipeline, none of them twice.

A shard is a task: the videos whose clips it holds, or its queries. A task's outcome is two files in
the folder where the dataset is built, the shard and then a `Result`. A task that has both is not
done again unless what it is made from has changed. So a build that was broken off, by whatever,
goes on where it stopped, and ends with what it would have had. A worker holds the clips of one
video at a time.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import pickle
import sys
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from data import records, tfrecord
from data.assembly import make_clip, make_query
from data.errors import InputError
from data.progress import progress
from data.report import Report
from data.schema import SCHEMA_VERSION, Clip, RawQuery
from data.source import Source
from data.tokenizer import Tokenizer

ON_BAD_VIDEO = ("error", "skip")
STOPPED = "stopped: run the same command again, it goes on where it was"
SECONDS_BETWEEN_LOOKS = 0.5
# To start a process takes as long as to make about so many shards.
SHARDS_WORTH_A_WORKER = 2


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a task.

    identity: of what the shard was made from.
    records, size: how many records the shard has, and bytes.
    skipped: videos that are left out, for they cannot be used.
    totals: frames, subtitles and the like in them.
    left_out: see `Report.to_json`.
    """

    identity: str
    records: int
    size: int
    skipped: list[str]
    totals: dict[str, int]
    left_out: dict


@dataclasses.dataclass
class Outcome:
    """What a task notes while it makes records; see `Result`."""

    skipped: list[str] = dataclasses.field(default_factory=list)
    totals: Counter = dataclasses.field(default_factory=Counter)
    left_out: Report = dataclasses.field(default_factory=Report)


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A shard to be made.

    name: of its file.
    tokenizer, tokenizer_path: its identity, and a copy that all workers can read.
    may_skip: whether videos that cannot be used are left out; else the first ends the build.
    """

    name: str
    tokenizer: str
    tokenizer_path: Path
    may_skip: bool

    def __len__(self) -> int:
        """How many videos or queries it is made from."""
        raise NotImplementedError

    def content(self) -> list:
        """JSON values that differ if the records would."""
        raise NotImplementedError

    def records(self, outcome: Outcome) -> Iterator[bytes]:
        """Serialised records, in order."""
        raise NotImplementedError

    def identity(self) -> str:
        """A hash of what the shard is made from."""
        content = [SCHEMA_VERSION, self.tokenizer, *self.content()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class ClipTask(Task):
    """A shard of the clips of some videos."""

    videos: Sequence[str]
    source: Source
    widths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.videos)

    def content(self) -> list:
        source = self.source
        step = source.seconds_per_feature
        return [self.videos, source.identity(self.videos), step, self.widths]

    def records(self, outcome: Outcome) -> Iterator[bytes]:
        tokenizer = Tokenizer.load(self.tokenizer_path)
        for video_id in self.videos:
            report = Report()
            try:
                clips = [
                    make_clip(raw, self.widths, tokenizer, self.source.seconds_per_feature)
                    for raw in self.source.clips(video_id, report)
                ]
            except InputError as error:
                if not self.may_skip:
                    raise
                outcome.skipped.append(video_id)
                outcome.left_out.add("videos that cannot be used: skipped", str(error))
                continue
            outcome.left_out.merge([report])
            for clip in clips:
                _add_totals(outcome.totals, clip)
                yield records.serialise(records.encode_clip(clip))


def _add_totals(totals: Counter, clip: Clip) -> None:
    totals["frames"] += len(clip.frame_features)
    totals["frames under a subtitle"] += int((clip.frame_subtitle >= 0).sum())
    totals["subtitles"] += len(clip.subtitle_texts)
    totals["subtitle tokens"] += len(clip.token_ids)
    totals["clips without subtitles"] += not clip.subtitle_texts


@dataclasses.dataclass(frozen=True, eq=False)
class QueryTask(Task):
    """A shard of queries."""

    queries: Sequence[RawQuery]
    query_type: str

    def __len__(self) -> int:
        return len(self.queries)

    def content(self) -> list:
        return [[dataclasses.astuple(query) for query in self.queries], self.query_type]

    def records(self, outcome: Outcome) -> Iterator[bytes]:
        tokenizer = Tokenizer.load(self.tokenizer_path)
        for raw in self.queries:
            query = make_query(raw, self.query_type, tokenizer)
            yield records.serialise(records.encode_query(query))


def write_shards(
    folder: Path, tasks: Sequence[Task], label: str, workers: int, beam_options: Sequence[str] = ()
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
    temporary = folder / f".{name}.{uuid.uuid4().hex}"
    try:
        task = pickle.loads((folder / f"{name}.task").read_bytes())
        identity, outcome, count = task.identity(), Outcome(), 0
        with temporary.open("xb") as file:
            for data in task.records(outcome):
                file.write(tfrecord.record(data))
                count += 1
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        temporary.replace(folder / name)
        result = Result(
            identity,
            count,
            size,
            outcome.skipped,
            dict(outcome.totals),
            outcome.left_out.to_json(),
        )
        temporary.write_text(json.dumps(dataclasses.asdict(result)))
        temporary.replace(_result_path(folder, name))
        (folder / f"{name}.task").unlink()
    except (InputError, OSError) as error:
        temporary.unlink(missing_ok=True)
        _fail(folder, error)
    except KeyboardInterrupt:
        # Beam would make an error of it that nobody could tell from others.
        temporary.unlink(missing_ok=True)
        _fail(folder, InputError(STOPPED))


def _fail(folder: Path, error: Exception) -> None:
    """Leaves a sentence about the first failure."""
    sentence = str(error)
    if isinstance(error, OSError):
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise error
        sentence = (
            f"the disk of {folder} is full: make room and run the same command again, it goes on "
            "with the shard that it was at"
        )
    temporary = folder / f".failure.{uuid.uuid4().hex}"
    temporary.write_text(sentence)
    temporary.replace(folder / "failure")


def _is_done(folder: Path, task: Task) -> bool:
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

    def __init__(self, folder: Path, tasks: Sequence[Task], label: str, shown: TextIO | None):
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
