"""Copies of an index into another store."""

import os
import shutil
from collections.abc import Iterator

import numpy as np

from data.arguments import user_path
from hero_jax.index.entries import Entry
from hero_jax.index.protocol import Snapshot
from hero_jax.index.stores import create, open_index, open_writer

# Clips that are read at once.
_AT_ONCE = 64


def migrate(source: str | os.PathLike, target: str | os.PathLike, store: str) -> int:
    """Copies the clips of an index into a new one of another store, or of the same.

    Nothing may change the source meanwhile. After an error there is no new index.

    Args:
      target: folder of the new index.
      store: one of `STORES`.

    Returns:
      The number of clips.

    Raises:
      InputError: the source is damaged, the new folder is not empty or cannot be written to, or the
        store does not take the index's dtype.
    """
    source, target = user_path(source, "source"), user_path(target, "target")
    with open_writer(source):
        index = open_index(source)
        create(
            target,
            width=index.width,
            dtype=index.dtype.name,
            max_frames=index.max_frames,
            seconds_per_feature=index.seconds_per_feature,
            model=index.model,
            store=store,
        )
        try:
            index.check()
            with open_writer(target) as writer:
                return sum(writer.add(_entries(index)))
        except BaseException:
            # It would be in the way of the next attempt.
            shutil.rmtree(target, ignore_errors=True)
            raise


def _entries(index: Snapshot) -> Iterator[Entry]:
    lengths = index.num_frames()
    for first in range(0, index.capacity, _AT_ONCE):
        block = index.block(first, min(_AT_ONCE, index.capacity - first))
        there = np.flatnonzero(lengths[first : first + _AT_ONCE])
        for frames, clip in zip(block[there], index.clips(first + there), strict=True):
            own = frames[: clip.num_frames]
            yield Entry(clip.clip_id, clip.video_id, clip.start, own, clip.lines)
