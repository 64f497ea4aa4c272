"""Lays a clip out as segments, each of a subtitle or part of the clip with its frames.

`data/pipeline/packing.py` puts segments into rows, where `Rows` finds space for them.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from data.config import Config
from data.errors import InputError
from data.pipeline.layout import Metadata
from data.schema import Clip, Query

# Segmentations whose texts begin with [CLS], those of the others with [SEP].
BEGUN_BY_CLS = ("frames", "subtitle_cls")
# Frames that share a segment when a clip has no subtitles (the original's rule).
FRAMES_WITHOUT_SUBTITLE = 5


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A clip laid out as segments, one after another, ready to be put into rows.

    Attributes:
      number: number of the clip's record.
      clip_id: name of the clip.
      frame_features: `[F, D]` float16, the frames that are kept.
      lengths: number of slots of each segment.
      slot_token, slot_position, slot_frame, slot_segment, slot_subtitle: arrays over all slots of
        all segments. The subtitle is -1 at frames and special tokens. The frame is -1 at text, and
        is numbered on from one version of the clip to the next.
      subtitles: token ids of each subtitle.
      spans: first and last frame, inclusive, of each subtitle that has frames and words.
      annotated: the clip's queries in the form that its packer reads.
      cut_tokens, cut_frames: number of tokens and frames that are left out.
      cut_moments: number of queries whose moments go on after the frames that are kept.
      versions: number of versions of the clip.
    """

    number: int
    clip_id: str
    frame_features: np.ndarray
    lengths: np.ndarray
    slot_token: np.ndarray
    slot_position: np.ndarray
    slot_frame: np.ndarray
    slot_segment: np.ndarray
    slot_subtitle: np.ndarray
    subtitles: list[list[int]]
    spans: dict[int, tuple[int, int]]
    annotated: tuple
    cut_tokens: int
    cut_frames: int
    cut_moments: int
    versions: int


@dataclasses.dataclass(frozen=True)
class _Segment:
    """Frames that share a segment with the words of some subtitles.

    Attributes:
      frames: numbers of the frames.
      subtitles: numbers of the subtitles.
      room: number of words that fit.
    """

    frames: Sequence[int]
    subtitles: Sequence[int]
    room: int


def prepare(
    clip: Clip,
    number: int,
    config: Config,
    metadata: Metadata,
    queries: Iterable[Query] = (),
    *,
    tails: Sequence[Sequence[int]] = ((),),
    framed: bool = False,
) -> Prepared:
    """Lays a clip out as segments.

    Args:
      clip: the clip.
      number: number of its record.
      config: the experiment's `batch` block.
      metadata: the dataset's, for special tokens and the frame rate.
      queries: annotated queries about the clip.
      tails: for every version of the clip, the tokens that follow the words of each subtitle.
      framed: whether to leave out subtitles without frames, which no frame ever sees; with
        `config.max_subtitles` they are seen, and kept.

    Raises:
      InputError: a clip without frames, or a segment that is longer than a row without any words
        of its subtitle.
    """
    num_frames = min(len(clip.frame_features), config.max_frames)
    if not num_frames:
        raise InputError(
            f"clip {clip.clip_id!r} has no frames: leave it out of the splits or add its features"
        )
    words, cut_tokens = _words(clip, config.max_tokens)
    frames_of = _frames_of(clip, num_frames)
    # Slots of a segment that neither its frames nor the words of its subtitles take.
    beside = 1 + max(map(len, tails))
    segments = _segments(words, frames_of, num_frames, config, beside)
    segments, lost = _kept(segments, words, config.max_subtitles, framed=framed)
    lost += sum(_cut(segment, words) for segment in segments)
    slot_lists, lengths = _slots(segments, words, config, metadata, tails)
    _check_lengths(clip, lengths, config)
    token, position, frame, subtitle = (np.array(slots, np.int32) for slots in slot_lists)
    asked, cut_queries, cut_moments = _asked(queries, num_frames, config, metadata)
    return Prepared(
        number=number,
        clip_id=clip.clip_id,
        frame_features=clip.frame_features[:num_frames],
        lengths=lengths,
        slot_token=token,
        slot_position=position,
        slot_frame=frame,
        slot_segment=np.repeat(np.arange(len(lengths)), lengths),
        slot_subtitle=subtitle,
        subtitles=words,
        spans={j: subtitle_span(f, num_frames) for j, f in enumerate(frames_of) if f and words[j]},
        annotated=asked,
        cut_tokens=cut_tokens + cut_queries + lost,
        cut_frames=len(clip.frame_features) - num_frames,
        cut_moments=cut_moments,
        versions=len(tails),
    )


def _check_lengths(clip: Clip, lengths: np.ndarray, config: Config) -> None:
    if lengths.max(initial=0) > config.row_length:
        raise InputError(
            f"clip {clip.clip_id!r} has a segment of {lengths.max()} frames and tokens that does "
            f"not fit a row even with its subtitle cut: raise batch.row_length={config.row_length},"
            " or lower batch.max_frames or, if a query follows each subtitle, "
            "batch.max_query_tokens"
        )


def _words(clip: Clip, most: int) -> tuple[list[list[int]], int]:
    """Returns at most so many token ids of each subtitle, and the number of those cut."""
    token_ids, words, end = clip.token_ids.tolist(), [], 0
    for count in clip.token_counts:
        words.append(token_ids[end : end + min(count, most)])
        end += count
    return words, len(token_ids) - sum(map(len, words))


def _frames_of(clip: Clip, num_frames: int) -> list[list[int]]:
    """Returns the frames under each subtitle."""
    frames_of: list[list[int]] = [[] for _ in clip.token_counts]
    for frame, j in enumerate(clip.frame_subtitle[:num_frames].tolist()):
        if j >= 0:
            frames_of[j].append(frame)
    return frames_of


def _asked(
    queries: Iterable[Query], num_frames: int, config: Config, metadata: Metadata
) -> tuple[tuple[tuple[np.ndarray, tuple[int, int]], ...], int, int]:
    """Returns the words and the span of each query, and the numbers of words and moments cut."""
    most, step = config.max_query_tokens, metadata.seconds_per_feature
    asked, cut_words, cut_moments = [], 0, 0
    for query in queries:
        moment, cut = moment_in_frames(query.moment, step, num_frames)
        asked.append((query.token_ids[:most], moment_span(moment, step, num_frames)))
        cut_words += max(len(query.token_ids) - most, 0)
        cut_moments += cut
    return tuple(asked), cut_words, cut_moments


def moment_in_frames(
    moment: tuple[float, float] | None, seconds_per_feature: float, num_frames: int
) -> tuple[tuple[float, float] | None, bool]:
    """Returns a moment, None if it lies after the frames, and whether it goes on after them.

    Less than a frame is rounding. What goes on after the frames is cut by the functions that return
    frames.
    """
    latest = (num_frames + 1) * seconds_per_feature
    if moment is None or moment[1] <= latest:
        return moment, False
    return (moment if moment[0] <= latest else None), True


def subtitle_span(frames: Sequence[int], num_frames: int) -> tuple[int, int]:
    """Returns the first and last frame of a subtitle, inclusive.

    The span has two frames or more if the clip does.
    """
    return frames[0], min(max(frames[-1], frames[0] + 1), num_frames - 1)


def moment_span(
    moment: tuple[float, float] | None, seconds_per_feature: float, num_frames: int
) -> tuple[int, int]:
    """Returns the first and last frame of a moment, inclusive, as the original's frame targets.

    Args:
      moment: first and last second; None for the whole clip.
      seconds_per_feature: seconds between two frames.
      num_frames: number of the clip's frames.
    """
    if moment is None:
        return 0, num_frames - 1
    start = min(math.floor(moment[0] / seconds_per_feature), num_frames - 1)
    end = max(math.ceil(moment[1] / seconds_per_feature) - 1, start + 1)
    return start, min(end, num_frames - 1)


def _segments(
    words: list[list[int]],
    frames_of: list[list[int]],
    num_frames: int,
    config: Config,
    beside: int,
) -> list[_Segment]:
    """Returns the segments of a clip.

    Args:
      words: token ids of each subtitle.
      frames_of: frames under each subtitle.
      beside: slots of a segment that neither its frames nor the words of its subtitles take.
    """
    all_frames = range(num_frames)
    if config.segmentation == "frames":
        return [_Segment(all_frames, (), 0)]
    if config.segmentation == "clip":
        room = max(min(config.max_clip_tokens, config.row_length - num_frames - beside), 0)
        return [_Segment(all_frames, range(len(words)), room)]
    if not words:
        return [
            _Segment(all_frames[start : start + FRAMES_WITHOUT_SUBTITLE], (), 0)
            for start in range(0, num_frames, FRAMES_WITHOUT_SUBTITLE)
        ]
    segments = []
    for j, frames in enumerate(frames_of):
        room = max(config.row_length - len(frames) - beside, 0)
        first = max(j - config.context_subtitles, 0)
        # A subtitle that does not fit as context is still read in its own segment.
        while first < j and sum(map(len, words[first : j + 1])) > room:
            first += 1
        segments.append(_Segment(frames, range(first, j + 1), room))
    return segments


def _kept(
    segments: list[_Segment], words: list[list[int]], most: int, *, framed: bool
) -> tuple[list[_Segment], int]:
    """Returns the segments that are read, and the number of words of subtitles beyond the most.

    Args:
      most: number of subtitles of a sequence, 0 if subtitles are not read in a sequence.
      framed: as in `prepare`.
    """
    if most:
        beyond = (segment.subtitles[-1] for segment in segments[most:] if segment.subtitles)
        return segments[:most], sum(len(words[j]) for j in beyond)
    return [segment for segment in segments if segment.frames or not framed], 0


def _cut(segment: _Segment, words: list[list[int]]) -> int:
    """Returns the number of words that a segment has no room for."""
    return max(sum(len(words[j]) for j in segment.subtitles) - segment.room, 0)


def _slots(
    segments: list[_Segment],
    words: list[list[int]],
    config: Config,
    metadata: Metadata,
    tails: Sequence[Sequence[int]],
) -> tuple[tuple[list[int], list[int], list[int], list[int]], np.ndarray]:
    """Returns token, position, frame and subtitle of each slot, and the length of each segment.

    Slots are in lists, since segments are too short for NumPy to be faster.
    """
    special = metadata.special_ids
    first = special.cls if config.segmentation in BEGUN_BY_CLS else special.sep
    token, position, frame, subtitle = [], [], [], []
    lengths = []
    for version, tail in enumerate(tails):
        for segment in segments:
            owners = [j for j in segment.subtitles for _ in words[j]][: segment.room]
            said = itertools.chain.from_iterable(words[j] for j in segment.subtitles)
            text = [first, *itertools.islice(said, segment.room), *tail]
            n, m = len(segment.frames), len(text)
            token += [special.pad] * n + text
            position += [*range(n), *range(m)]
            frame += [version * config.max_frames + number for number in segment.frames] + [-1] * m
            subtitle += [-1] * (n + 1) + owners + [-1] * len(tail)
            lengths.append(n + m)
    return (token, position, frame, subtitle), np.array(lengths, int)


class Rows:
    """Free space in the rows of one group, filled by best fit."""

    def __init__(self, rows: int, row_length: int):
        self.free = np.full(rows, row_length)
        self.segments = np.zeros(rows, np.int64)
        self.row_length = row_length

    def place(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Finds space for segments, longest first, each where it leaves the least space.

        Returns:
          (first slot in the flattened rows, segment id) of each segment, or None, with nothing
          changed, if they do not all fit.
        """
        free, segments = self.free.copy(), self.segments.copy()
        first = np.empty(len(lengths), np.int64)
        ids = np.empty(len(lengths), np.int32)
        for i in np.argsort(-lengths, kind="stable"):
            length = lengths[i]
            row = np.where(free >= length, free, self.row_length + 1).argmin()
            if free[row] < length:
                return None
            first[i] = (row + 1) * self.row_length - free[row]
            free[row] -= length
            segments[row] += 1
            ids[i] = segments[row]
        self.free, self.segments = free, segments
        return first, ids
