"""A clip of a dataset to be shown, with the queries about it."""

import dataclasses
import difflib
import os
from collections.abc import Iterator, Sequence

import numpy as np

from data.errors import InputError
from data.progress import progress
from data.records.reader import QuerySplit, Split
from data.schema import Clip, DatasetMetadata, Query


@dataclasses.dataclass(frozen=True)
class Shown:
    """A clip and the queries about it.

    clip: the clip.
    split: its split.
    number: number of its record in the split.
    size: number of clips in the split.
    queries: queries about the clip.
    metadata: metadata of the dataset.
    """

    clip: Clip
    split: str
    number: int
    size: int
    queries: tuple[Query, ...]
    metadata: DatasetMetadata

    def frames_of(self, subtitle: int) -> list[int]:
        """Returns the frames that belong to a subtitle, or with -1 to none."""
        return np.flatnonzero(self.clip.frame_subtitle == subtitle).tolist()


def find(dataset_dir: str | os.PathLike[str], clip_id: str, split: str = "") -> Shown:
    """Finds a clip and the queries about it.

    Args:
      dataset_dir: folder of the dataset.
      clip_id: id of the clip.
      split: split of the clip; '' searches all.

    Raises:
      InputError: the dataset, the split or the clip does not exist; the sentence names clips with
        similar ids.
    """
    metadata = DatasetMetadata.load(dataset_dir)
    splits = [split] if split else list(metadata.clips)
    ids = []
    for name in splits:
        clips = Split(dataset_dir, name, on_corrupt="skip")
        for number in progress(range(len(clips)), f"clips of {name}", len(clips)):
            clip = clips.read(number)
            if clip is not None and clip.clip_id == clip_id:
                queries = tuple(_queries_about(dataset_dir, metadata, clip_id, name))
                return Shown(clip, name, number, len(clips), queries, metadata)
            if clip is not None:
                ids.append(clip.clip_id)
    similar = difflib.get_close_matches(clip_id, ids)
    hint = f"did you mean {' or '.join(similar)}?" if similar else "no id is similar"
    raise InputError(f"dataset {dataset_dir} has no clip {clip_id} in {', '.join(splits)}: {hint}")


def _queries_about(
    dataset_dir: str | os.PathLike[str], metadata: DatasetMetadata, clip_id: str, split: str
) -> Iterator[Query]:
    if split not in metadata.queries:
        return
    queries = QuerySplit(dataset_dir, split, on_corrupt="skip")
    for number in progress(range(len(queries)), f"queries of {split}", len(queries)):
        query = queries.read(number)
        if query is not None and query.clip_id == clip_id:
            yield query


def truth(query: Query) -> str:
    """Returns words for the label of a statement."""
    return {1: "true", 0: "false"}.get(query.label, "not known whether true")


def runs(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the first and last number of each run of consecutive ones; numbers are in order."""
    numbers = np.asarray(frames, int)
    split = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return [(int(run[0]), int(run[-1])) for run in split if run.size]
