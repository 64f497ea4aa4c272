"""Pictures of frames that a dataset has of its clips.

`hero_jax.search.thumbnails` has those of films.
"""

import functools
import os
from collections.abc import Sequence
from typing import TypeVar

from data.arguments import user_path
from data.pipeline.units import clip_ids
from data.records.reader import Split
from data.schema import Clip, DatasetMetadata
from hero_jax.inference.windows import clip_of_window
from hero_jax.search.found import FoundMoment

MOST_PICTURES = 4  # Of a moment.
CLIPS_KEPT = 64
Picture = TypeVar("Picture")


class Pictures:
    """Pictures in moments of a dataset's clips.

    Attributes:
      seconds_per_feature: seconds from one frame to the next.
      durations: by video id, the second at which the last clip that was read ends.
    """

    def __init__(self, dataset: str | os.PathLike):
        """Opens a dataset; its damaged clips have no pictures.

        Raises:
          InputError: there is no such dataset.
        """
        metadata = DatasetMetadata.load(dataset)
        self.seconds_per_feature = metadata.seconds_per_feature
        self.durations: dict[str, float] = {}
        self._places: dict[str, tuple[Split, int]] = {}
        for split in metadata.clips:
            clips = Split(dataset, split, "skip")
            names = enumerate(clip_ids(user_path(dataset), split, clips))
            self._places |= {name: (clips, number) for number, name in names if name}
        # The same clips are found again and again.
        self._clip = functools.lru_cache(CLIPS_KEPT)(self._read)

    def _read(self, clip_id: str) -> tuple[float, tuple[bytes, ...]]:
        """Returns the second of its video at which a clip begins, and the pictures of its frames.

        There are no pictures of a clip that is damaged or not in the dataset.
        """
        clip = self.clip(clip_id)
        if not clip:
            return 0.0, ()
        video_id = clip.video_id or clip.clip_id
        end = clip.video_start + len(clip.frame_features) * self.seconds_per_feature
        self.durations[video_id] = max(self.durations.get(video_id, 0), end)
        return clip.video_start, clip.frame_images

    def clip(self, clip_id: str) -> Clip | None:
        """Returns a clip, or that which an id names a window of; None if it is not there."""
        place = self._places.get(clip_id) or self._places.get(clip_of_window(clip_id))
        return place and place[0].read(place[1])

    def at(self, clip_id: str, second: float) -> bytes | None:
        """Returns the picture of a clip that is nearest to a second of its video, if it has any."""
        start, images = self._clip(clip_id)
        if not images:
            return None
        frame = int((second - start) / self.seconds_per_feature)
        return images[min(max(frame, 0), len(images) - 1)]

    def of(self, found: FoundMoment) -> tuple[tuple[float, bytes], ...]:
        """Returns up to `MOST_PICTURES` pictures of a moment, evenly spread, with their seconds."""
        start, images = self._clip(found.clip_id)
        frames = (
            (start + (number + 0.5) * self.seconds_per_feature, image)
            for number, image in enumerate(images)
        )
        return tuple(spread([frame for frame in frames if found.start <= frame[0] <= found.end]))


def spread(pictures: Sequence[Picture]) -> list[Picture]:
    """Returns up to `MOST_PICTURES` of some pictures, evenly spread."""
    count = min(MOST_PICTURES, len(pictures))
    return [pictures[n * len(pictures) // count] for n in range(count)]
