"""Windows of videos that are longer than a model reads at once."""

import dataclasses

import numpy as np

# Between the name of a clip and the number of its window.
WINDOW = "#"


def clip_of_window(clip_id: str) -> str:
    """The clip that an entry of an index is a window of, or is."""
    name, separator, number = clip_id.rpartition(WINDOW)
    return name if separator and number.isdecimal() else clip_id


# Of two windows of a long video that follow each other, what share of their frames is in both.
WINDOW_OVERLAP = 0.5


def _window(clip, number, first, count):
    """Frames `first` to `first + count` of a clip with the subtitles over them."""
    frame_subtitle = clip.frame_subtitle[first : first + count]
    kept = np.unique(frame_subtitle[frame_subtitle >= 0])
    ends = np.cumsum(clip.token_counts)
    words = [clip.token_ids[ends[j] - clip.token_counts[j] : ends[j]] for j in kept]
    # -1, for no subtitle, looks up what was appended.
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
