"""Plan of a build: its settings, and which videos and queries go into which shard."""

import collections
import dataclasses
import hashlib
import heapq
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from data.arguments import texts
from data.building.shards import ON_BAD_VIDEO, ClipShardTask, QueryShardTask
from data.errors import InputError
from data.records.assembly import feature_widths
from data.report import Report
from data.schema import RawClip, RawQuery
from data.sources.base import Source

# An interrupted build makes its last shards again, so they are small; and a split has few files.
SHARD_BYTES = 32 << 20
MOST_SHARDS = 1024
QUERIES_PER_SHARD = 50_000
# Number of videos of each split that are read to estimate the size of all.
SAMPLE = 8
# Name of the tokenizer's copy in the folder of finished shards.
TOKENIZER = "tokenizer"

_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True)
class Building:
    """Settings of a build.

    workers: number of processes on this machine.
    beam_options: options of an Apache Beam pipeline that does the work instead of `workers`; its
      machines must all see the same paths.
    num_shards: number of shards of clips per split; 0 makes shards of about SHARD_BYTES.
    on_bad_video: 'error' stops at a video that cannot be used, 'skip' leaves it out and counts it.
    overwrite: allows to replace a finished dataset.
    """

    workers: int = 1
    beam_options: Sequence[str] = ()
    num_shards: int = 0
    on_bad_video: str = "error"
    overwrite: bool = False

    def __post_init__(self) -> None:
        texts(self.beam_options, "beam_options")
        if self.on_bad_video not in ON_BAD_VIDEO:
            raise InputError(f"on_bad_video is {self.on_bad_video!r}: choose error or skip")
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}: choose at least 1")
        if self.num_shards < 0:
            raise InputError(
                f"num_shards is {self.num_shards}: choose 0, for shards by size, or more"
            )


def sample(source: Source, building: Building) -> tuple[tuple[int, ...], float]:
    """Reads a few videos of each split.

    Returns:
      The widths of feature parts that most of these videos have, and the mean size of the records
      of a video in bytes.

    Raises:
      InputError: a video cannot be used and may not be skipped, or none can be used.
    """
    widths: collections.Counter[tuple[int, ...]] = collections.Counter()
    sizes = []
    for split, videos in source.videos.items():
        for video_id in heapq.nsmallest(SAMPLE, videos, key=order_key(split)):
            try:
                clips = source.clips(video_id, Report())
                widths[feature_widths(clips[0])] += 1
            except InputError:
                if building.on_bad_video == "error":
                    raise
                continue
            sizes.append(sum(map(_record_bytes, clips)))
    if not sizes:
        raise InputError("there are no videos, or none that can be used, to build a dataset of")
    return widths.most_common(1)[0][0], sum(sizes) / len(sizes)


def order_key(split: str) -> Callable[[str], int]:
    """Returns the sort key of the ids of a split: their MD5, salted with the split as in TFDS."""
    salt = hashlib.md5(split.encode())

    def key(identifier: str) -> int:
        digest = salt.copy()
        # TFDS takes ids for paths, which are to have the same hash on Windows.
        digest.update(identifier.replace("\\", "/").encode())
        return int.from_bytes(digest.digest(), "big")

    return key


def clip_tasks(
    folder: Path,
    split: str,
    source: Source,
    tokenizer: str,
    widths: tuple[int, ...],
    video_bytes: float,
    building: Building,
) -> list[ClipShardTask]:
    """Returns the tasks of a split's clips, in an order that depends on the videos' ids alone.

    Args:
      folder: folder of finished shards.
      split: split of the source.
      source: source of the clips.
      tokenizer: identity of the tokenizer.
      widths: widths of the parts of all clips' features.
      video_bytes: estimate of the bytes of a video's records.
      building: settings of the build.
    """
    videos = sorted(source.videos[split], key=order_key(split))
    num_shards = building.num_shards or min(
        MOST_SHARDS, math.ceil(video_bytes * len(videos) / SHARD_BYTES)
    )
    may_skip = building.on_bad_video == "skip"
    path = folder / TOKENIZER
    return [
        ClipShardTask(name, tokenizer, path, may_skip, part, source.narrowed(part), widths)
        for name, part in _divide(f"clips-{split}", videos, num_shards)
    ]


def query_tasks(
    folder: Path, split: str, queries: Sequence[RawQuery], query_type: str, tokenizer: str
) -> list[QueryShardTask]:
    """Returns the tasks of a split's queries, in an order that depends on their ids alone."""
    key = order_key(split)
    queries = sorted(queries, key=lambda query: key(query.query_id))
    num_shards = math.ceil(len(queries) / QUERIES_PER_SHARD)
    return [
        QueryShardTask(name, tokenizer, folder / TOKENIZER, False, part, query_type)
        for name, part in _divide(f"queries-{split}", queries, num_shards)
    ]


def _record_bytes(clip: RawClip) -> int:
    """Estimates the bytes of a clip's record; features and images are nearly all of it."""
    return sum(2 * part.size for part in clip.features) + sum(map(len, clip.frame_images))


def _divide(name: str, items: list[_Item], num_parts: int) -> list[tuple[str, list[_Item]]]:
    """Divides items into named parts of nearly equal length, fewer than asked if some are empty."""
    num_parts = min(max(num_parts, 1), len(items))
    ends = [len(items) * (i + 1) // num_parts for i in range(num_parts)]
    return [
        (f"{name}-{i:05d}-of-{num_parts:05d}", items[first:end])
        for i, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]
