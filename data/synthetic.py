"""Random clips with the lengths of TV clips, for benchmarks and tests.

The number of frames is normal(50, 12), within 20 to 100. Subtitles last 1 to 4 frames and cover 75%
of the time. The number of words of a subtitle is log-normal(2.3, 0.55), within 2 to 60.
"""

import dataclasses

import numpy as np

from data.schema import Clip

SHARE_UNDER_SUBTITLES = 0.75
MAX_FRAMES_OF_SUBTITLE = 4


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Lengths of a clip and of its subtitles.

    num_frames: number of frames of the clip.
    subtitles: first frame, number of frames and number of words of each subtitle.
    """

    num_frames: int
    subtitles: tuple[tuple[int, int, int], ...]


def tv_lengths(rng: np.random.Generator, num_frames: int | None = None) -> Lengths:
    """Draws the lengths of a clip, whose number of frames may be given."""
    if num_frames is None:
        num_frames = int(np.clip(round(rng.normal(50, 12)), 20, 100))
    mean = (1 + MAX_FRAMES_OF_SUBTITLE) / 2
    mean_gap = mean * (1 / SHARE_UNDER_SUBTITLES - 1)
    subtitles = []
    first = int(rng.poisson(mean_gap))
    while first < num_frames:
        frames = min(int(rng.integers(1, MAX_FRAMES_OF_SUBTITLE + 1)), num_frames - first)
        words = int(np.clip(round(rng.lognormal(2.3, 0.55)), 2, 60))
        subtitles.append((first, frames, words))
        first += frames + int(rng.poisson(mean_gap))
    return Lengths(num_frames, tuple(subtitles))


def random_clip(
    rng: np.random.Generator,
    clip_id: str,
    lengths: Lengths,
    word_ids: tuple[int, int],
    feature_size: int,
) -> Clip:
    """Draws a clip with given lengths.

    Args:
      rng: source of the features and words.
      clip_id: id of the clip.
      lengths: lengths of the clip and its subtitles.
      word_ids: first token id of a word, and the one after the last.
      feature_size: number of features of a frame.
    """
    frame_subtitle = np.full(lengths.num_frames, -1, np.int32)
    for index, (first, frames, _) in enumerate(lengths.subtitles):
        frame_subtitle[first : first + frames] = index
    counts = np.array([words for _, _, words in lengths.subtitles], np.int32)
    times = np.zeros(len(counts), np.float32)
    return Clip(
        clip_id=clip_id,
        frame_features=rng.standard_normal((lengths.num_frames, feature_size), np.float32).astype(
            np.float16
        ),
        duration=float(lengths.num_frames),
        subtitle_texts=("",) * len(counts),
        subtitle_starts=times,
        subtitle_ends=times,
        token_ids=rng.integers(*word_ids, counts.sum(), np.int32),
        token_counts=counts,
        frame_subtitle=frame_subtitle,
        story="",
        frame_images=(),
        video_id="",
        video_start=0.0,
    )
