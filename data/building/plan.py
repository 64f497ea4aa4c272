"""How a dataset is built, and which videos and queries go into which shard."""

import collections
import dataclasses
import heapq
import math
from collections.abc import Sequence
from pathlib import Path

from tensorflow_datasets.core import hashing

from data.building.shards import ON_BAD_VIDEO, ClipTask, QueryTask
from data.errors import InputError
from data.records.assembly import feature_widths
from data.report import Report
from data.schema import RawClip, RawQuery
from data.sources.base import Source

# A shard is what is made again if a build is broken off, and a file; neither should be too many.
SHARD_BYTES = 32 << 20
MOST_SHARDS = 1024
QUERIES_PER_SHARD = 50_000
# Videos of each split that are looked at to find out how large they are.
SAMPLE = 8
TOKENIZER = "tokenizer"  # in the folder of finished shards


@dataclasses.dataclass(frozen=True)
class Building:
    """How a dataset is built, other than from what.

    workers: processes on this machine.
    beam_options: of a Beam pipeline on other runners, in place of `workers`; all machines have to
      see the same paths.
    num_shards: of clips per split; 0 for as many as make shards of about SHARD_BYTES.
    on_bad_video: 'error' stops at a video that cannot be used, 'skip' leaves it out and counts it.
    overwrite: whether a finished dataset may be replaced.
    """

    workers: int = 1
    beam_options: Sequence[str] = ()
    num_shards: int = 0
    on_bad_video: str = "error"
    overwrite: bool = False

    def __post_init__(self):
        if self.on_bad_video not in ON_BAD_VIDEO:
            raise InputError(f"on_bad_video is {self.on_bad_video!r}: choose error or skip")
        if self.workers < 1 or self.num_shards < 0:
            raise InputError(
                f"{self.workers} workers and {self.num_shards} shards: there has to be 1 worker or "
                "more, and of shards 0 (to choose) or more"
            )


def sample(source: Source, building: Building) -> tuple[tuple[int, ...], float]:
    """The feature widths that most of a few videos have, and the bytes of a video's records.

    Raises:
      InputError: a video that cannot be used and may not be skipped, or no other.
    """
    widths, sizes = collections.Counter(), []
    for split, videos in source.videos.items():
        for video_id in heapq.nsmallest(SAMPLE, videos, key=hashing.Hasher(split).hash_key):
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


def clip_tasks(
    folder: Path,
    split: str,
    source: Source,
    tokenizer: str,
    widths: tuple[int, ...],
    video_bytes: float,
    building: Building,
) -> list[ClipTask]:
    """Shards of a split's clips, in an order that depends on the videos' ids alone.

    Args:
      folder: of finished shards.
      tokenizer: its identity.
      widths: of the features of all clips.
      video_bytes: about what the records of a video take.
    """
    videos = sorted(source.videos[split], key=hashing.Hasher(split).hash_key)
    wanted = building.num_shards or min(
        MOST_SHARDS, math.ceil(video_bytes * len(videos) / SHARD_BYTES)
    )
    may_skip = building.on_bad_video == "skip"
    path = folder / TOKENIZER
    return [
        ClipTask(name, tokenizer, path, may_skip, part, source.narrowed(part), widths)
        for name, part in _parts(f"clips-{split}", videos, wanted)
    ]


def query_tasks(
    folder: Path, split: str, queries: Sequence[RawQuery], query_type: str, tokenizer: str
) -> list[QueryTask]:
    """Shards of a split's queries, in an order that depends on their ids alone."""
    hasher = hashing.Hasher(split)
    queries = sorted(queries, key=lambda query: hasher.hash_key(query.query_id))
    wanted = math.ceil(len(queries) / QUERIES_PER_SHARD)
    return [
        QueryTask(name, tokenizer, folder / TOKENIZER, False, part, query_type)
        for name, part in _parts(f"queries-{split}", queries, wanted)
    ]


def _record_bytes(clip: RawClip) -> int:
    """About what a clip's record takes; features and pictures are nearly all of it."""
    return sum(2 * part.size for part in clip.features) + sum(map(len, clip.frame_images))


def _parts(name: str, items: list, wanted: int) -> list[tuple[str, list]]:
    """`items` in `wanted` parts of nearly equal length, none of them empty, each with a name."""
    wanted = min(max(wanted, 1), len(items))
    ends = [len(items) * (i + 1) // wanted for i in range(wanted)]
    return [
        (f"{name}-{i:05d}-of-{wanted:05d}", items[first:end])
        for i, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]
