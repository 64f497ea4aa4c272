"""Random access to the records of a dataset."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from data.arguments import choice, text, user_path
from data.errors import InputError
from data.records import codec, tfrecord
from data.schema import Clip, DatasetMetadata, Query, records_dir
from data.text import parse_json

ON_CORRUPT = ("error", "skip")

_Decoded = TypeVar("_Decoded")


class _Records:
    """The records of one kind in one split, numbered from 0; safe to read from many threads.

    Attributes:
      metadata: metadata of the dataset.
      corrupt: numbers of the damaged records read so far, each with a sentence about it.
    """

    _kind: str

    def __init__(self, dataset_dir: str | os.PathLike[str], split: str, on_corrupt: str = "error"):
        """Opens a split.

        Args:
          dataset_dir: folder of the dataset.
          split: 'train', 'validation' or 'test'.
          on_corrupt: 'error' raises at a damaged record, 'skip' lists it in `corrupt` and the log.

        Raises:
          InputError: the dataset or the split does not exist or lacks files.
        """
        choice(on_corrupt, "on_corrupt", ON_CORRUPT)
        text(split, "split")
        self.metadata = DatasetMetadata.load(dataset_dir)
        self.corrupt: dict[int, str] = {}
        self._skip = on_corrupt == "skip"
        self._shards, lengths = self._find_shards(user_path(dataset_dir), split)
        self._first_numbers = np.concatenate([[0], np.cumsum(lengths)])
        self._offsets = [tfrecord.offsets(shard) for shard in self._shards]

    def __len__(self) -> int:
        return int(self._first_numbers[-1])

    def _find_shards(self, dataset_dir: Path, split: str) -> tuple[list[Path], list[int]]:
        """Returns the split's files, and the number of records that each was written with."""
        counts = getattr(self.metadata, self._kind)
        if split not in counts:
            raise InputError(
                f"dataset {dataset_dir} has no {self._kind} in a split {split!r}: choose from "
                f"{', '.join(counts)}"
                if counts
                else f"dataset {dataset_dir} has no {self._kind} in any split: build it with them"
            )
        folder = records_dir(dataset_dir, self._kind)
        try:
            info = parse_json((folder / "dataset_info.json").read_bytes())
            stored = next(s["shardLengths"] for s in info["splits"] if s["name"] == split)
            lengths, name = [int(length) for length in stored], info["name"]
            if min(lengths, default=0) < 0 or sum(lengths) != counts[split]:
                raise ValueError("other numbers of records than in the dataset's metadata")
        except (OSError, ValueError, LookupError, TypeError, StopIteration) as error:
            raise InputError(
                f"{folder / 'dataset_info.json'} is missing or does not list the shards of "
                f"{split}: copy dataset {dataset_dir} whole, or build it again"
            ) from error
        shards = [
            folder / tfrecord.shard_name(name, split, index, len(lengths))
            for index in range(len(lengths))
        ]
        for shard in shards:
            if not shard.is_file():
                raise InputError(
                    f"{shard} is missing: copy dataset {dataset_dir} whole, or build it again"
                )
        return shards, lengths

    def _read(self, number: int, decode: Callable[[bytes], _Decoded]) -> _Decoded | None:
        """Decodes a record's bytes; returns None for a damaged record that is skipped."""
        if not 0 <= number < len(self):
            raise IndexError(f"record {number} of {len(self)}")
        shard = int(np.searchsorted(self._first_numbers, number, "right")) - 1
        record = number - int(self._first_numbers[shard])
        offsets = self._offsets[shard]
        data = None
        if record + 1 < len(offsets):
            start, stop = offsets[record : record + 2].tolist()
            try:
                data = tfrecord.read_record(self._shards[shard], start, stop)
            except FileNotFoundError as error:
                raise InputError(
                    f"{self._shards[shard]} was removed while the dataset was read: start again, "
                    "and build over a dataset only when nothing reads it"
                ) from error
        try:
            if data is None:
                raise InputError("it is damaged or cut off")
            return decode(data)
        except InputError as error:
            message = (
                f"record {record} of {self._shards[shard]} cannot be read ({error}): restore the "
                "file, build the dataset again, or have damaged records skipped"
            )
            if not self._skip:
                raise InputError(message) from error
            if number not in self.corrupt:
                self.corrupt[number] = message
                logging.warning("%s. Skipped; %d so far.", message, len(self.corrupt))
            return None


class Split(_Records):
    """The clips of a split."""

    _kind = "clips"

    def read(self, number: int) -> Clip | None:
        """Reads clip `number`; returns None if it is damaged and damaged records are skipped."""
        return self._read(number, self._decode)

    def _decode(self, data: bytes) -> Clip:
        return codec.decode_clip(data, self.metadata.feature_width)


class QuerySplit(_Records):
    """The queries about the clips of a split."""

    _kind = "queries"

    def read(self, number: int) -> Query | None:
        """Reads query `number`; returns None if it is damaged and damaged records are skipped."""
        return self._read(number, codec.decode_query)
