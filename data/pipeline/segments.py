"""Lays a clip out as segments: a subtitle, or part of the clip, with its frames.

`data/pipeline/packing.py` puts segments into rows.
"""

import dataclasses
import itertools
import math

import numpy as np

from data.errors import InputError

# Frames that share a segment when a clip has no subtitles (the original's rule).
FRAMES_WITHOUT_SUBTITLE = 5


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A clip laid out as segments, one after the other, ready to be put into rows.

    slot_*: arrays over all slots of all segments; `subtitle` is -1 at frames and special tokens,
    `frame` is -1 at text and counts on from version to version. lengths: slots of each segment.
    annotated: what is asked of the clip, as its packer wants it.
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


def prepare(clip, number, config, metadata, queries=(), *, tails=((),), framed=False) -> Prepared:
    """Lays a clip out as segments.

    Args:
      clip: `data.schema.Clip`.
      number: of its record.
      config: the experiment's `batch` block.
      metadata: `data.schema.DatasetMetadata`, for special tokens and the frame rate.
      queries: `data.schema.Query` annotated of the clip.
      tails: for every version of the clip, tokens that follow the words of each subtitle.
      framed: whether to leave out subtitles without frames, which no frame ever sees.

    Raises:
      InputError: a clip without frames, or a segment that is longer than a row without any words
        of its subtitle.
    """
    num_frames = min(len(clip.frame_features), config.max_frames)
    if not num_frames:
        raise InputError(
            f"Clip {clip.clip_id!r} has no frames; leave it out of the splits or add its features."
        )
    words, cut_tokens = _words(clip, config.max_tokens)
    frames_of = [[] for _ in words]
    for frame, j in enumerate(clip.frame_subtitle[:num_frames].tolist()):
        if j >= 0:
            frames_of[j].append(frame)
    beside = 1 + max(map(len, tails))
    segments = _segments(words, frames_of, num_frames, config, beside)
    if framed:
        segments = [segment for segment in segments if segment[0]]
    cut = sum(max(sum(len(words[j]) for j in of) - room, 0) for _, of, room in segments)
    tokens = metadata.special_ids
    first = tokens.cls if config.segmentation == "frames" else tokens.sep
    slots = [
        _segment_slots(*segment, words, (first, tokens.pad), tail, version * config.max_frames)
        for version, tail in enumerate(tails)
        for segment in segments
    ]
    lengths = np.array([len(s[0]) for s in slots], int)
    if lengths.max(initial=0) > config.row_length:
        raise InputError(
            f"Clip {clip.clip_id!r} has a segment of {lengths.max()} frames and tokens, though its "
            "subtitle is cut, which does not fit a row; raise config.batch.row_length above "
            f"{config.row_length}, or lower config.batch.max_frames or, of what follows each "
            "subtitle, max_query_tokens."
        )
    token, position, frame, subtitle = (
        np.array([*itertools.chain.from_iterable(s[i] for s in slots)], np.int32) for i in range(4)
    )
    return Prepared(
        number=number,
        clip_id=clip.clip_id,
        frame_features=clip.frame_features[:num_frames],
        lengths=lengths,
        slot_token=token,
        slot_position=position,
        slot_frame=frame,
        slot_segment=np.repeat(np.arange(len(slots)), lengths),
        slot_subtitle=subtitle,
        subtitles=words,
        spans={j: subtitle_span(f, num_frames) for j, f in enumerate(frames_of) if f and words[j]},
        annotated=tuple(
            (
                query.token_ids[: config.max_query_tokens],
                moment_span(query.moment, metadata.seconds_per_feature, num_frames),
            )
            for query in queries
        ),
        cut_tokens=cut_tokens
        + cut
        + sum(max(len(query.token_ids) - config.max_query_tokens, 0) for query in queries),
        cut_frames=len(clip.frame_features) - num_frames,
    )


def _words(clip, most):
    """Token ids of each subtitle, at most so many, and how many are cut."""
    token_ids, words, end = clip.token_ids.tolist(), [], 0
    for count in clip.token_counts:
        words.append(token_ids[end : end + min(count, most)])
        end += count
    return words, len(token_ids) - sum(map(len, words))


def subtitle_span(frames, num_frames) -> tuple[int, int]:
    """The span of a subtitle's frames, at least two frames where the clip has them."""
    return frames[0], min(max(frames[-1], frames[0] + 1), num_frames - 1)


def moment_span(moment, seconds_per_feature, num_frames) -> tuple[int, int]:
    """The span of a moment in seconds, as the original computes frame targets; None: all."""
    if moment is None:
        return 0, num_frames - 1
    start = min(math.floor(moment[0] / seconds_per_feature), num_frames - 1)
    end = max(math.ceil(moment[1] / seconds_per_feature) - 1, start + 1)
    return start, min(end, num_frames - 1)


def _segments(words, frames_of, num_frames, config, beside):
    """(frames, numbers of the subtitles whose words it has, tokens allowed) of each segment.

    beside: slots of a segment that neither its frames nor the words of its subtitles take.
    """
    everything = range(num_frames)
    if config.segmentation == "frames":
        return [(everything, (), 0)]
    if config.segmentation == "clip":
        room = max(min(config.max_clip_tokens, config.row_length - num_frames - beside), 0)
        return [(everything, range(len(words)), room)]
    if not words:
        starts = range(0, num_frames, FRAMES_WITHOUT_SUBTITLE)
        return [(range(s, min(s + FRAMES_WITHOUT_SUBTITLE, num_frames)), (), 0) for s in starts]
    segments = []
    for j, frames in enumerate(frames_of):
        room = max(config.row_length - len(frames) - beside, 0)
        first = max(j - config.context_subtitles, 0)
        # Context that does not fit is still where it is a subtitle of its own.
        while first < j and sum(map(len, words[first : j + 1])) > room:
            first += 1
        segments.append((frames, range(first, j + 1), room))
    return segments


def _segment_slots(frames, subtitles, room, words, special, tail, frames_before):
    """token, position, frame and subtitle of each slot of one segment.

    Lists, since segments are too short for NumPy's calls to pay.
    """
    first, pad = special
    owner = [j for j in subtitles for _ in words[j]][:room]
    text = [first, *itertools.chain.from_iterable(words[j] for j in subtitles)][: room + 1]
    text += tail
    n, m = len(frames), len(text)
    return (
        [pad] * n + text,
        [*range(n), *range(m)],
        [*(frames_before + frame for frame in frames), *[-1] * m],
        [-1] * (n + 1) + owner + [-1] * len(tail),
    )
