"""Random clips as long as television's, for benchmarks and tests.

Frames ~ N(50, 12) in 20..100; subtitles of 1 to 4 frames over 75% of the time; words of a subtitle
log-normal(2.3, 0.55) in 2..60.
"""

import dataclasses

import numpy as np

from data.schema import Clip

SHARE_UNDER_SUBTITLES = 0.75
MAX_FRAMES_OF_SUBTITLE = 4


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Of a clip: its frames, and of each subtitle the first frame, frames and words."""

    num_frames: int
    subtitles: tuple[tuple[int, int, int], ...]


def tv_lengths(rng: np.random.Generator, num_frames: int | None = None) -> Lengths:
    """Draws the lengths of a clip; all but the number of frames if that is given."""
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
    """A clip of these lengths with random features and random words from a range of ids."""
    owner = np.full(lengths.num_frames, -1, np.int32)
    for number, (first, frames, _) in enumerate(lengths.subtitles):
        owner[first : first + frames] = number
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
        frame_subtitle=owner,
        story="",
        frame_images=(),
        video_id="",
        video_start=0.0,
    )
