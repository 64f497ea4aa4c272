"""Alignment of subtitles with frames, as in the original's preparation of subtitles."""

from collections.abc import Sequence

import numpy as np

from data.schema import RawSubtitle

# The original assumes that the end of a last subtitle longer than this is wrong (in the files of TV
# shows, the last cue often runs to the end of the clip) and assigns only its first frames to it.
LONGEST_CLOSING_SECONDS = 16.0
CLOSING_FRAMES = 11


def align(
    subtitles: Sequence[RawSubtitle], num_frames: int, seconds_per_feature: float
) -> np.ndarray:
    """Assigns each frame to the subtitle that it overlaps most, measured as temporal IoU.

    Frame `i` lasts from `i` to `i + 1` times `seconds_per_feature`. The first of subtitles that
    overlap it equally wins. A subtitle without duration, or that begins after the last frame, gets
    no frame. Times and the length of a subtitle are rounded to float32 where the original rounds
    them, which decides the frames that a subtitle touches, and near-ties.

    Args:
      subtitles: in order of their starts; times in seconds.
      num_frames: number of frames of the clip.
      seconds_per_feature: seconds between two frames.

    Returns:
      `[num_frames]` int32: the index of each frame's subtitle, -1 for none.
    """
    owner = np.full(num_frames, -1, np.int32)
    best_iou = np.zeros(num_frames)
    seconds = np.array([(s.start, s.end) for s in subtitles], np.float32).reshape(-1, 2)
    frames = seconds / np.float32(seconds_per_feature)
    clip_seconds = num_frames * seconds_per_feature
    for index, (start, end) in enumerate(frames):
        start_second, end_second = seconds[index].astype(np.float64)
        if start_second >= clip_seconds:
            continue
        first, stop = int(np.floor(start)), int(np.ceil(end))
        duration = min(end_second, clip_seconds) - start_second
        if index == len(subtitles) - 1 and duration > LONGEST_CLOSING_SECONDS:
            stop = min(stop, first + CLOSING_FRAMES)
        touched = np.arange(max(first, 0), min(stop, num_frames))
        iou = _temporal_iou(start, end, touched)
        better = iou > best_iou[touched]
        owner[touched[better]] = index
        best_iou[touched[better]] = iou[better]
    return owner


def _temporal_iou(start: np.float32, end: np.float32, frames: np.ndarray) -> np.ndarray:
    """Returns the IoU of a subtitle with each of the frames `[n]` that it touches: `[n]` float64.

    The subtitle's length is a float32 difference; all other differences are float64.

    Args:
      start: start of the subtitle in frames.
      end: end of the subtitle in frames.
      frames: numbers of the frames.
    """
    length = np.float64(end - start)
    first, last = np.float64(start), np.float64(end)
    next_frames = frames + 1
    overlap = np.minimum(last, next_frames) - np.maximum(first, frames)
    union = np.maximum(last, next_frames) - np.minimum(first, frames)
    within_frame = (first > frames) & (last < next_frames)
    covers_frame = (first < frames) & (last > next_frames)
    return np.where(within_frame, length, overlap) / np.where(covers_frame, length, union)
