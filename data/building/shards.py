"""Shards of records: the task of making one, and its result on disk.

A task names the videos whose clips a shard holds, or its queries. Doing it leaves two files in the
folder where the dataset is built: the shard and then its `ShardResult`. A task that has both is not
done again unless its inputs have changed, so an interrupted build continues where it stopped and
ends with the same bytes. A worker holds the clips of one video at a time.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.errors import InputError
from data.files import NO_ROOM, replacing, writing_to
from data.records import codec, tfrecord
from data.records.assembly import make_clip, make_query
from data.report import Report
from data.schema import SCHEMA_VERSION, Clip, RawQuery
from data.sources.base import Source
from data.text import parse_json
from data.tokenizer import Tokenizer

ON_BAD_VIDEO = ("error", "skip")
NO_ROOM_ADVICE = "make room and build again, finished shards are kept"


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """Result of a task, stored beside its shard.

    identity: hash of the shard's inputs.
    records: number of records.
    size: bytes of the shard's file.
    skipped: ids of the videos that cannot be used and are left out.
    totals: numbers of frames, subtitles and the like in the records.
    left_out: see `Report.to_json`.
    """

    identity: str
    records: int
    size: int
    skipped: list[str]
    totals: dict[str, int]
    left_out: dict


@dataclasses.dataclass
class Tally:
    """Counts that a task keeps while it makes records; see `ShardResult`."""

    skipped: list[str] = dataclasses.field(default_factory=list)
    totals: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: Report = dataclasses.field(default_factory=Report)


@dataclasses.dataclass(frozen=True, eq=False)
class ShardTask:
    """Task of making a shard.

    name: of the shard's file.
    tokenizer: the tokenizer's identity.
    tokenizer_path: copy of the tokenizer that all workers can read.
    may_skip: leave out videos that cannot be used; otherwise the first of them ends the build.
    """

    name: str
    tokenizer: str
    tokenizer_path: Path
    may_skip: bool

    def __len__(self) -> int:
        """Number of videos or queries that the shard is made from."""
        raise NotImplementedError

    def content(self) -> list:
        """JSON values that differ if the records would."""
        raise NotImplementedError

    def records(self, tally: Tally) -> Iterator[bytes]:
        """Yields serialised records in order, and counts into the tally."""
        raise NotImplementedError

    def identity(self) -> str:
        """Returns a hash of the shard's inputs."""
        content = [SCHEMA_VERSION, self.tokenizer, *self.content()]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class ClipShardTask(ShardTask):
    """Task of making a shard of the clips of some videos.

    videos: their ids.
    source: source of at least these videos.
    widths: widths that the parts of every clip's features must have.
    """

    videos: Sequence[str]
    source: Source
    widths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.videos)

    def content(self) -> list:
        source = self.source
        step = source.seconds_per_feature
        return [self.videos, source.identity(self.videos), step, self.widths]

    def records(self, tally: Tally) -> Iterator[bytes]:
        tokenizer = _load_tokenizer(self.tokenizer_path, self.tokenizer)
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
                tally.skipped.append(video_id)
                tally.left_out.add("videos that cannot be used: skipped", str(error))
                continue
            tally.left_out.merge([report])
            for clip in clips:
                _add_totals(tally.totals, clip)
                yield codec.serialise(codec.encode_clip(clip))


@functools.lru_cache(1)
def _load_tokenizer(path: Path, identity: str) -> Tokenizer:
    """Returns the tokenizer of that identity: loading one may take as long as making a shard."""
    del identity
    return Tokenizer.load(path)


def _add_totals(totals: Counter[str], clip: Clip) -> None:
    totals["frames"] += len(clip.frame_features)
    totals["frames under a subtitle"] += int((clip.frame_subtitle >= 0).sum())
    totals["subtitles"] += len(clip.subtitle_texts)
    totals["subtitle tokens"] += len(clip.token_ids)
    totals["clips without subtitles"] += not clip.subtitle_texts


@dataclasses.dataclass(frozen=True, eq=False)
class QueryShardTask(ShardTask):
    """Task of making a shard of queries, all of one of `schema.QUERY_TYPES`."""

    queries: Sequence[RawQuery]
    query_type: str

    def __len__(self) -> int:
        return len(self.queries)

    def content(self) -> list:
        return [[dataclasses.astuple(query) for query in self.queries], self.query_type]

    def records(self, tally: Tally) -> Iterator[bytes]:
        tokenizer = _load_tokenizer(self.tokenizer_path, self.tokenizer)
        for raw in self.queries:
            query = make_query(raw, self.query_type, tokenizer)
            yield codec.serialise(codec.encode_query(query))


def make_shard(folder: Path, task: ShardTask) -> None:
    """Does a task: writes its shard and then its result into the folder.

    Raises:
      InputError: a video cannot be used, or the disk is full; nothing of the shard is left.
    """
    with writing_to(folder, NO_ROOM_ADVICE, NO_ROOM):
        identity, tally, count = task.identity(), Tally(), 0
        with replacing(folder / task.name) as temporary, temporary.open("xb") as file:
            for data in task.records(tally):
                file.write(tfrecord.record(data))
                count += 1
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        result = ShardResult(
            identity=identity,
            records=count,
            size=size,
            skipped=tally.skipped,
            totals=dict(tally.totals),
            left_out=tally.left_out.to_json(),
        )
        with replacing(result_path(folder, task.name)) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(result)))


def is_made(folder: Path, task: ShardTask) -> bool:
    """Returns whether the folder has a complete shard that was made from the task's inputs."""
    try:
        result = load_result(folder, task.name)
        complete = (folder / task.name).stat().st_size == result.size
    except (OSError, ValueError, TypeError):
        return False
    return complete and (task.may_skip or not result.skipped) and result.identity == task.identity()


def load_result(folder: Path, name: str) -> ShardResult:
    """Reads the result of the task of that name.

    Raises:
      OSError: the task is not done.
      ValueError, TypeError: the file does not hold a result.
    """
    return ShardResult(**parse_json(result_path(folder, name).read_bytes()))


def result_path(folder: Path, name: str) -> Path:
    """Returns the file of the result of the task of that name."""
    return folder / f"{name}.json"
