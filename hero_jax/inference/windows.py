"""Windows of videos that are longer than a model reads at once."""

import dataclasses

import numpy as np

from data.schema import Clip
from hero_jax.index.entries import Entry, Line

# Separates the name of a clip from the number of its window.
WINDOW = "#"
# Share of the frames of a window that are also in the next one.
WINDOW_OVERLAP = 0.5


def clip_of_window(clip_id: str) -> str:
    """Returns the id of the clip that an entry of an index is a window of, or is entirely."""
    name, separator, number = clip_id.rpartition(WINDOW)
    return name if separator and number.isdecimal() else clip_id


def windows(clip: Clip, max_frames: int, seconds_per_feature: float) -> list[tuple[Clip, float]]:
    """Returns a clip, or the windows of a longer one, with their starts in the video (seconds)."""
    frames = len(clip.frame_features)
    if frames <= max_frames:
        return [(clip, clip.video_start)]
    step = max(round(max_frames * (1 - WINDOW_OVERLAP)), 1)
    firsts = [*range(0, frames - max_frames, step), frames - max_frames]
    return [
        (window(clip, number, first, max_frames), clip.video_start + first * seconds_per_feature)
        for number, first in enumerate(firsts)
    ]


def window(clip: Clip, number: int, first: int, count: int) -> Clip:
    """Returns frames `first` to `first + count` of a clip, with the subtitles of these frames.

    Args:
      number: number of the window, for its id.
    """
    frame_subtitle = clip.frame_subtitle[first : first + count]
    kept = np.unique(frame_subtitle[frame_subtitle >= 0])
    ends = np.cumsum(clip.token_counts)
    words = [clip.token_ids[ends[j] - clip.token_counts[j] : ends[j]] for j in kept]
    # One more place at the end, which -1 (no subtitle) looks up.
    renumbered = np.full(len(clip.token_counts) + 1, -1, np.int32)
    renumbered[kept] = np.arange(len(kept))
    return dataclasses.replace(
        clip,
        clip_id=f"{clip.clip_id}{WINDOW}{number}",
        video_id=clip.video_id or clip.clip_id,
        frame_features=clip.frame_features[first : first + count],
        subtitle_texts=tuple(clip.subtitle_texts[j] for j in kept),
        subtitle_starts=clip.subtitle_starts[kept],
        subtitle_ends=clip.subtitle_ends[kept],
        token_ids=np.concatenate([np.zeros(0, np.int32), *words]),
        token_counts=clip.token_counts[kept],
        frame_subtitle=renumbered[frame_subtitle],
    )


def entry(clip: Clip, start: float, frames: np.ndarray) -> Entry:
    """Returns a clip or window as an index stores it.

    Args:
      start: of the window in the video, in seconds.
      frames: `[F, width]`, encoded.
    """
    shift = clip.video_start
    lines = tuple(
        Line(first + shift, last + shift, text)
        for first, last, text in zip(
            clip.subtitle_starts.tolist(),
            clip.subtitle_ends.tolist(),
            clip.subtitle_texts,
            strict=True,
        )
    )
    return Entry(clip.clip_id, clip.video_id or clip.clip_id, start, frames, lines)
