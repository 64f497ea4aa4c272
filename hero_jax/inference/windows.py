"""Windows of videos that are longer than a model reads at once."""

import dataclasses

import numpy as np

from data.schema import Clip

# Separates the name of a clip from the number of its window.
WINDOW = "#"
# Share of the frames of a window that are also in the next one.
WINDOW_OVERLAP = 0.5


def clip_of_window(clip_id: str) -> str:
    """Returns the id of the clip that an entry of an index is a window of, or is entirely."""
    name, separator, number = clip_id.rpartition(WINDOW)
    return name if separator and number.isdecimal() else clip_id


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
