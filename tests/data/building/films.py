"""A source whose clips fail or wait, and what is built from it."""

import dataclasses
import os
import signal
import time
from pathlib import Path

from data.building.dataset import build_dataset
from data.building.plan import Building
from data.errors import InputError
from data.records.reader import Split
from data.report import Report
from data.schema import RawClip
from tests.data.clip_samples import TOKENIZER, raw_clip

CLIPS = [raw_clip(index) for index in range(12)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read(folder: Path, split: str) -> list:
    found = Split(folder, split)
    return [found.read(number) for number in range(len(found))]


@dataclasses.dataclass
class Films:
    """A source that cannot make some of its clips."""

    broken: tuple[str, ...] = ()
    unheard_of: str = ""
    deadly: str = ""
    endless: str = ""
    late: str = ""
    slow: float = 0.0
    changed: tuple[str, ...] = ()
    seconds_per_feature: float = 1.5

    def __post_init__(self):
        self.videos = {"train": [clip.clip_id for clip in CLIPS]}
        self.queries, self.query_type, self.report = {}, "", Report()

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        report.add("films seen", video_id)
        if video_id in self.broken:
            raise InputError(f"{video_id} is broken: mend it")
        if video_id == self.unheard_of:
            raise RuntimeError("unheard of")
        if video_id == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep({self.endless: 600, self.late: 2}.get(video_id, self.slow))
        return [raw_clip(int(video_id.removeprefix("clip")))]

    def video_of(self, clip_id):
        return clip_id

    def narrowed(self, videos):
        return self

    def identity(self, videos):
        return [video_id for video_id in videos if video_id in self.changed]


def build_films(folder: Path, source: Films, **building):
    """A clip a shard, so that numbers of shards are places in the order of records."""
    return build_dataset(folder, source, TOKENIZER, Building(num_shards=len(CLIPS), **building))


def stamps(folder: Path) -> dict[int, int]:
    """When each shard was written, of a dataset that is finished or not."""
    paths = [*folder.glob("building/clips-*-of-*"), *folder.glob("clips/*/films-train.*-of-*")]
    times = {
        path.name.split("-of-")[0][-5:]: path.stat().st_mtime_ns
        for path in paths
        if path.name.endswith("00012")
    }
    return {int(number): time for number, time in times.items()}
