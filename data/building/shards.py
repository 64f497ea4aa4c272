"""Shards of records, each made on its own by an Apache Beam pipeline, none of them twice.

A shard is a task: the videos whose clips it holds, or its queries. A task's outcome is two files in
the folder where the dataset is built, the shard and then a `Result`. A task that has both is not
done again unless what it is made from has changed. So a build that was broken off, by whatever,
goes on where it stopped, and ends with what it would have had. A worker holds the clips of one
video at a time.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from data.errors import InputError
from data.records import codec
from data.records.assembly import make_clip, make_query
from data.report import Report
from data.schema import SCHEMA_VERSION, Clip, RawQuery
from data.sources.base import Source
from data.tokenizer import Tokenizer

ON_BAD_VIDEO = ("error", "skip")


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
class ShardTask:
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
class ClipTask(ShardTask):
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
                yield codec.serialise(codec.encode_clip(clip))


def _add_totals(totals: Counter, clip: Clip) -> None:
    totals["frames"] += len(clip.frame_features)
    totals["frames under a subtitle"] += int((clip.frame_subtitle >= 0).sum())
    totals["subtitles"] += len(clip.subtitle_texts)
    totals["subtitle tokens"] += len(clip.token_ids)
    totals["clips without subtitles"] += not clip.subtitle_texts


@dataclasses.dataclass(frozen=True, eq=False)
class QueryTask(ShardTask):
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
            yield codec.serialise(codec.encode_query(query))
