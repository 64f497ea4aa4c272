"""Which subtitle each frame belongs to, as the original's preparation of subtitles decides it."""

from collections.abc import Sequence

import numpy as np

from data.schema import RawSubtitle

# The original takes a closing subtitle longer than this for one whose end is wrong (in TV's files
# the last cue often runs to the end of the clip) and lets it have its first few frames only.
LONGEST_CLOSING_SECONDS = 16.0
CLOSING_FRAMES = 11


def align(
    subtitles: Sequence[RawSubtitle], num_frames: int, seconds_per_feature: float
) -> np.ndarray:
    """Assigns each frame to the subtitle that it overlaps most, measured as temporal IoU.

    Frame `i` lasts from `i` to `i + 1` times `seconds_per_feature`. Of subtitles that overlap it
    equally the first wins. A subtitle that begins after the last frame gets none, and neither does
    one without duration. Times, and the length of a subtitle, are rounded to float32 where the
    original does so: that decides which frames a subtitle touches, and near-ties.

    Args:
      subtitles: in order of their starts; times in seconds.
      num_frames: number of features of the clip.
      seconds_per_feature: seconds between two features.

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
        lasts = min(end_second, clip_seconds) - start_second
        if index == len(subtitles) - 1 and lasts > LONGEST_CLOSING_SECONDS:
            stop = min(stop, first + CLOSING_FRAMES)
        touched = np.arange(max(first, 0), min(stop, num_frames))
        iou = _temporal_iou(start, end, touched)
        better = iou > best_iou[touched]
        owner[touched[better]] = index
        best_iou[touched[better]] = iou[better]
    return owner


def _temporal_iou(start: np.float32, end: np.float32, frames: np.ndarray) -> np.ndarray:
    """IoU of a subtitle with frames `[n]` that it touches, `[n]` float64. Times are in frames.

    The subtitle's own length is a float32 difference; all other differences are float64.
    """
    length = np.float64(end - start)
    start, end = np.float64(start), np.float64(end)
    next_frames = frames + 1
    overlap = np.minimum(end, next_frames) - np.maximum(start, frames)
    union = np.maximum(end, next_frames) - np.minimum(start, frames)
    within_frame = (start > frames) & (end < next_frames)
    covers_frame = (start < frames) & (end > next_frames)
    return np.where(within_frame, length, overlap) / np.where(covers_frame, length, union)
