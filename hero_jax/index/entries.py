"""Clips that an index takes and returns, and their encoding on disk."""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator

import numpy as np

from data.arguments import instances, number, refusal, text
from data.errors import InputError
from hero_jax.index.manifest import Manifest
from hero_jax.index.segment import Record

_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclasses.dataclass(frozen=True)
class Line:
    """A subtitle: its text, from `start` to `end` in seconds of the video."""

    start: float
    end: float
    text: str


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """A clip to store; it may be a window of a video.

    clip_id: unique in the index; a clip that is added replaces one with the same id.
    video_id: id of the video; several clips may be of one video.
    start: second of the video at which the first frame begins.
    frames: `[F, H]` encoded frames, F >= 1, in float32 or the index's dtype.
    lines: subtitles of the clip.
    """

    clip_id: str
    video_id: str
    start: float
    frames: np.ndarray
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class IndexedClip:
    """A stored clip without its frames; see `Entry`.

    num_frames: number of frames, 0 if the clip is deleted.
    """

    clip_id: str
    video_id: str
    start: float
    num_frames: int
    lines: tuple[Line, ...]


def encode(entry: Entry, manifest: Manifest) -> Record:
    """Encodes an entry for the disk; raises InputError if the index cannot store it."""
    return Record(*_encode_text(entry), _encode_frames(entry, manifest))


def records(entries: Iterable[Entry], manifest: Manifest, ids: set[str]) -> Iterator[Record]:
    """Encodes entries and adds their ids to `ids`; raises InputError for one that is invalid."""
    for entry in instances(entries, "entries", Entry, "`Model.encode_clips` makes it"):
        if text(entry.clip_id, "clip_id of an entry") in ids:
            raise InputError(f"clip {entry.clip_id!r} is there twice: leave one of them out")
        ids.add(entry.clip_id)
        yield encode(entry, manifest)


def decode(clip_id: str, text: bytes, num_frames: int) -> IndexedClip:
    """Decodes a stored clip, without its frames; see `hero_jax.index.segment.undamaged`."""
    video_id, start, lines = json.loads(text)
    lines = tuple(itertools.starmap(Line, lines))
    texts = [video_id, *(line.text for line in lines)]
    times = [start, *(time for line in lines for time in (line.start, line.end))]
    if not all(isinstance(t, str) for t in texts) or not all(map(_is_time, times)):
        raise ValueError("a text or a time is something else")
    return IndexedClip(clip_id, video_id, start, num_frames, lines)


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _encode_text(entry: Entry) -> tuple[bytes, bytes]:
    """Encodes the id, a string, and the other text; raises InputError if that is not possible."""
    if not entry.clip_id:
        raise InputError(f"a clip of video {entry.video_id!r} has an empty id: give it one")
    of = f"of clip {entry.clip_id!r}"
    lines = [
        (
            number(line.start, f"start of a line {of}"),
            number(line.end, f"end of a line {of}"),
            text(line.text, f"text of a line {of}"),
        )
        for line in instances(entry.lines, f"lines {of}", Line, "`hero_jax.index` has it")
    ]
    start = number(entry.start, f"start {of}")
    content = _encode_json((text(entry.video_id, f"video_id {of}"), start, lines))
    return entry.clip_id.encode(), content.encode()


def _encode_frames(entry: Entry, manifest: Manifest) -> np.ndarray:
    """Converts frames to the index's dtype, `[F, H]`; raises InputError if they do not fit."""
    clip = f"clip {entry.clip_id!r}"
    try:
        frames = np.asarray(entry.frames)
    except ValueError as error:
        raise refusal(f"frames of {clip}", entry.frames, "an array [frames, width]") from error
    if frames.ndim != 2 or frames.shape[1] != manifest.width:
        raise InputError(
            f"{clip} has frames of shape {list(frames.shape)} where the index takes "
            f"[frames, {manifest.width}]: encode it with the index's model"
        )
    if not 1 <= len(frames) <= manifest.max_frames:
        raise InputError(
            f"{clip} has {len(frames)} frames where the index takes 1 to {manifest.max_frames}: "
            "cut its video into shorter windows"
        )
    if frames.dtype not in ("float32", manifest.dtype):
        raise InputError(
            f"{clip} has frames in {frames.dtype} where the index takes float32 or "
            f"{manifest.dtype}: convert them"
        )
    with np.errstate(over="ignore"):
        stored = frames.astype(manifest.dtype, copy=False)
    if not np.isfinite(stored).all():
        raise InputError(
            f"{clip} has values that are not finite, or beyond the range of {manifest.dtype}: "
            "check its features"
        )
    return stored
