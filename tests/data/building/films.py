"""A source whose clips fail or wait. Each worker imports this file: it imports little."""

import dataclasses
import os
import signal
import time

from data.errors import InputError
from data.report import Report
from data.schema import RawClip
from tests.data.raw_samples import raw_clip

CLIPS = [raw_clip(index) for index in range(12)]


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
    networks: tuple = ()

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
