"""How a dataset is built, and which videos and queries go into which shard."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from tensorflow_datasets.core import hashing

from data.assembly import feature_widths
from data.errors import InputError
from data.schema import RawClip
from data.shards import ON_BAD_VIDEO, ClipTask, QueryTask
from data.source import Source

# A shard is what is made again if a build is broken off, and a file; neither should be too many.
SHARD_BYTES = 32 << 20
MOST_SHARDS = 1024
QUERIES_PER_SHARD = 50_000
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


def clip_tasks(
    folder: Path, split: str, source: Source, first_clips: Sequence[RawClip], building: Building
) -> list[ClipTask]:
    """Shards of a split's clips, in an order that depends on the videos' ids alone.

    Args:
      folder: of finished shards.
      first_clips: of one video: its features' widths are those of all, its size is taken for the
        size of all.
    """
    videos = sorted(source.videos[split], key=hashing.Hasher(split).hash_key)
    wanted = building.num_shards or min(
        MOST_SHARDS, math.ceil(_record_bytes(first_clips) * len(videos) / SHARD_BYTES)
    )
    widths = feature_widths(first_clips[0])
    return [
        ClipTask(
            name, part, source.narrowed(part), widths, folder / TOKENIZER, building.on_bad_video
        )
        for name, part in _parts(f"clips-{split}", videos, wanted)
    ]


def query_tasks(folder: Path, split: str, source: Source) -> list[QueryTask]:
    """Shards of a split's queries, in an order that depends on their ids alone."""
    hasher = hashing.Hasher(split)
    queries = sorted(source.queries[split], key=lambda query: hasher.hash_key(query.query_id))
    return [
        QueryTask(name, part, source.query_type, folder / TOKENIZER)
        for name, part in _parts(
            f"queries-{split}", queries, math.ceil(len(queries) / QUERIES_PER_SHARD)
        )
    ]


def _record_bytes(clips: Sequence[RawClip]) -> int:
    """About what the records of these clips take; features and pictures are nearly all of it."""
    return sum(
        sum(2 * part.size for part in clip.features) + sum(map(len, clip.frame_images))
        for clip in clips
    )


def _parts(name: str, items: list, wanted: int) -> list[tuple[str, list]]:
    """`items` in `wanted` parts of nearly equal length, none of them empty, each with a name."""
    wanted = min(max(wanted, 1), len(items))
    ends = [len(items) * (i + 1) // wanted for i in range(wanted)]
    return [
        (f"{name}-{i:05d}-of-{wanted:05d}", items[first:end])
        for i, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]
