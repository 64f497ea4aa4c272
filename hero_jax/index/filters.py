"""Filters of an index's clips by the video that they are of."""

from collections.abc import Iterable

import numpy as np

from data.arguments import instance, refusal, text, texts
from data.errors import InputError
from hero_jax.index.protocol import Snapshot

# Separates folders in the id of a film, see docs/search.md.
SEPARATOR = "/"


def in_folder(video_id: str, folder: str) -> bool:
    """Checks whether a video's id is a path in a folder, or in one of the folders in it."""
    return video_id.startswith(folder.strip(SEPARATOR) + SEPARATOR)


def among(
    index: Snapshot, *, videos: Iterable[str] | None = None, folder: str | None = None
) -> np.ndarray | None:
    """Returns which clips are of some videos, and in a folder, as searches take it.

    Args:
      videos: ids of videos; None for all.
      folder: beginning of the ids, as `season 1` for `season 1/07`; None for all.

    Returns:
      `[capacity]` bool; None if there is no filter.

    Raises:
      InputError: the index has none of these videos, or no video in the folder.
    """
    instance(index, "index", Snapshot, "`open_index` returns it")
    if videos is None and folder is None:
        return None
    ids, video_of = index.videos()
    kept = np.ones(len(ids), bool)
    if videos is not None:
        wanted = set(texts(videos, "videos"))
        if unknown := sorted(wanted - set(ids)):
            raise InputError(
                f"the videos of {index.path} do not include {unknown[0]!r}: leave it out"
            )
        kept &= [one in wanted for one in ids]
    if folder is not None:
        inside = [in_folder(one, text(folder, "folder")) for one in ids]
        if not any(inside):
            raise InputError(
                f"{index.path} has no video in folder {folder!r}: name the beginning of their ids"
            )
        kept &= inside
    # The last place is that of deleted clips, whose number is -1.
    return np.append(kept, False)[video_of]


def checked_mask(among: np.ndarray, capacity: int) -> np.ndarray:
    """Returns which clips may be found, `[capacity]` bool; raises InputError for anything else."""
    if not isinstance(among, np.ndarray) or (among.shape, among.dtype) != ((capacity,), bool):
        raise refusal("among", among, f"bool[{capacity}], as `hero_jax.index.among` returns it")
    return among
