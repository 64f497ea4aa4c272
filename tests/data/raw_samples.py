"""Small clips and queries as a source gives them; quick to import, for processes that only read."""

import dataclasses

import numpy as np

from data.schema import RawClip, RawQuery, RawSubtitle


def raw_clip(index: int, *, num_frames: int = 8, **changes) -> RawClip:
    """Makes a clip of two feature parts, 3 and 2 wide, and two subtitles, random by index."""
    rng = np.random.default_rng(index)
    clip = RawClip(
        clip_id=f"clip{index}",
        features=(
            rng.standard_normal((num_frames, 3)).astype(np.float16),
            rng.standard_normal((num_frames, 2)).astype(np.float16),
        ),
        subtitles=(
            RawSubtitle(f"the red square {index}", 0.2, 4.1),
            RawSubtitle("the blue circle", 6.0, 8.75),
        ),
    )
    return dataclasses.replace(clip, **changes)


def raw_query(index: int) -> RawQuery:
    return RawQuery(
        f"q{index}", f"clip{index}", f"red meets blue {index}", ((0.1 * index, 5.3),), "v"
    )
