"""Units: a clip and some of the queries about it, which a downstream task reads together."""

import collections
import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from data.arguments import user_path
from data.config import Config
from data.errors import InputError
from data.files import replacing
from data.pipeline.layout import Metadata
from data.pipeline.mixture import Mixture
from data.pipeline.order import EpochOrder, spread
from data.pipeline.segments import Prepared
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.schema import Clip, DatasetMetadata, Query, records_dir, tokenizer_path
from data.text import parse_json
from data.tokenizer import Tokenizer

# A query with the number of its record.
NumberedQuery = tuple[int, Query]


@dataclasses.dataclass(frozen=True)
class Unit:
    """A clip with queries about it.

    Attributes:
      clip: number of the clip's record.
      queries: numbers of the queries' records.
    """

    clip: int
    queries: tuple[int, ...]


class AnnotatedSplit:
    """The clips and queries of a split.

    Attributes:
      name: name of the split.
      clips: the clips.
      clip_ids: the clips' names by the number of the record, '' for a damaged record.
      queries: the queries by the number of the record, None for a damaged record.
      metadata, tokenizer: those of the dataset.
    """

    def __init__(self, dataset_dir: str | os.PathLike, split: str, on_corrupt: str = "error"):
        """Reads all queries, and the names of the clips.

        Args:
          dataset_dir: the dataset's folder.
          split: name of the split.
          on_corrupt: what to do with damaged records, one of `data.records.reader.ON_CORRUPT`.

        Raises:
          InputError: the split does not exist, or has no queries.
        """
        self.name = split
        self.clips = Split(dataset_dir, split, on_corrupt)
        self.metadata: DatasetMetadata = self.clips.metadata
        records = QuerySplit(dataset_dir, split, on_corrupt)
        self.queries = [records.read(number) for number in range(len(records))]
        self.clip_ids = clip_ids(user_path(dataset_dir), split, self.clips)
        self.tokenizer = Tokenizer.load(tokenizer_path(dataset_dir))
        self._numbers = {name: number for number, name in enumerate(self.clip_ids) if name}

    def clip_of(self, query: Query) -> int | None:
        """Returns the number of a query's clip, None if it is unknown or not in the split."""
        return self._numbers.get(query.clip_id)

    def units(
        self,
        group: Callable[[int, Query], object],
        most: int,
        problem: Callable[[Query], str],
        *,
        first_of_group: bool = False,
    ) -> tuple[list[Unit], Report]:
        """Gathers queries about a clip that belong together.

        Args:
          group: returns, for a query's number and the query, a key that is the same for queries
            that belong together.
          most: maximum number of queries in a unit; more than that become several units.
          problem: returns why a query is left out, or '' to keep it.
          first_of_group: whether to keep only the first of the queries with the same `group` field,
            without reporting the others, which describe the same moment.

        Returns:
          Units in the order of their first query, and a report of the queries left out.
        """
        together: dict[tuple[int, object], list[int]] = collections.defaultdict(list)
        report, groups = Report(), set()
        for number, query in enumerate(self.queries):
            if query is None:
                report.add("damaged queries", str(number))
                continue
            if first_of_group and query.group and query.group in groups:
                continue
            groups.add(query.group)
            clip = self.clip_of(query)
            if clip is None:
                report.add("queries whose clip is not known", query.query_id)
            elif reason := problem(query):
                report.add(reason, query.query_id)
            else:
                together[clip, group(number, query)].append(number)
        units = [
            Unit(clip, tuple(numbers[first : first + most]))
            for (clip, _), numbers in together.items()
            for first in range(0, len(numbers), most)
        ]
        return units, report


class UnitItems:
    """Units as items; training takes them in an order that is shuffled in every epoch.

    Args:
      split: the clips and queries.
      units: the units, in order.
      prepare: lays out a clip, given it, the number of its record, and numbered queries.
      left_out: the queries that are in no unit.
    """

    def __init__(
        self,
        split: AnnotatedSplit,
        units: Sequence[Unit],
        prepare: Callable[[Clip, int, list[NumberedQuery]], Prepared],
        left_out: Report | None = None,
    ):
        self.split, self.units = split, units
        self.mixture = Mixture({split.metadata.name: split.clips})
        self.name = split.metadata.name
        self.left_out = Report() if left_out is None else left_out
        self._prepare = prepare

    def __len__(self) -> int:
        return len(self.units)

    def prepare(self, number: int) -> Prepared | None:
        """Returns a unit laid out for packing, or None if its clip is damaged and skipped."""
        unit = self.units[number]
        clip = self.mixture.read(unit.clip)
        if clip is None:
            return None
        queries = [(n, query) for n in unit.queries if (query := self.split.queries[n])]
        return self._prepare(clip, unit.clip, queries)

    def order(self, seed: int) -> EpochOrder:
        """Returns the order of training."""
        return EpochOrder(len(self), seed)

    def sample(self, count: int) -> np.ndarray:
        """Returns the numbers of at most `count` units, spread evenly."""
        return spread(len(self), count)

    def counts(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Returns the number of a batch's clips, and of damaged clips so far."""
        return self.mixture.counts(arrays)


class UnitLayout:
    """Base of the layouts of clips with queries about them; see `data.pipeline.layout.Layout`.

    Attributes:
      name: name of the layout.
      most: maximum number of queries in a unit.
      first_of_group: whether evaluation reads only the first of the queries of a group.
      config, metadata: as given.
    """

    name: ClassVar[str]
    annotated: ClassVar[bool] = True
    first_of_group = False
    most = 1

    def __init__(self, config: Config, metadata: Metadata):
        self.config, self.metadata = config, metadata

    def items(self, data: AnnotatedSplit, *, training: bool) -> UnitItems:
        """Returns the units of a split; for evaluation, also those that have a problem."""
        units, left_out = data.units(
            self.group,
            self.most,
            self.problem if training else _no_problem,
            first_of_group=self.first_of_group and not training,
        )
        return UnitItems(data, units, self.prepare, left_out)

    def group(self, number: int, query: Query) -> object:
        """Returns a key that is the same for queries that belong together."""
        return one_by_one(number, query)

    def problem(self, query: Query) -> str:
        """Returns why a query is not trained on, '' if it is."""
        raise NotImplementedError

    def prepare(self, clip: Clip, number: int, queries: list[NumberedQuery]) -> Prepared:
        """Lays out a clip with queries about it.

        Args:
          clip: the clip.
          number: number of its record.
          queries: the queries with the numbers of their records.
        """
        raise NotImplementedError


def _no_problem(query: Query) -> str:
    del query
    return ""


def one_by_one(number: int, query: Query) -> int:
    """Returns a key by which every query is a unit of its own."""
    del query
    return number


def by_clip(number: int, query: Query) -> str:
    """Returns a key by which all queries of a clip belong together."""
    del number, query
    return ""


def by_group(number: int, query: Query) -> object:
    """Returns a key by which the queries of a group belong together."""
    return query.group or number


def cut(words: Sequence[int] | np.ndarray, most: int) -> list[int]:
    """Returns the first tokens of a query, `most` or fewer."""
    return [int(word) for word in words[: max(most, 0)]]


def clip_ids(dataset_dir: Path, split: str, clips: Split) -> list[str]:
    """Returns the ids of all clips, '' for a damaged one.

    They are read from a list beside the shards, which is written if it does not exist.

    Raises:
      InputError: two clips have the same id.
    """
    path = records_dir(dataset_dir, "clips") / f"{split}.ids.json"
    listed = _read_ids(path, split)
    if listed is not None and len(listed) == len(clips):
        return listed
    ids = [clip.clip_id if clip else "" for clip in map(clips.read, range(len(clips)))]
    names = [*filter(None, ids)]
    if len(set(names)) < len(names):
        raise InputError(f"two clips of {dataset_dir} have the same name: build the dataset again")
    if not clips.corrupt:
        _write(path, json.dumps(ids))
    return ids


def _read_ids(path: Path, split: str) -> list[str] | None:
    """Returns the list of ids, None if there is no list or one of the shards is newer."""
    try:
        written = path.stat().st_mtime_ns
        shards = path.parent.glob(f"[!.]*-{split}.tfrecord-*-of-?????")
        if any(shard.stat().st_mtime_ns > written for shard in shards):
            return None
        ids = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return ids if isinstance(ids, list) else None


def _write(path: Path, text: str) -> None:
    # The list is a cache: a dataset on a read-only disk can be read without it.
    with contextlib.suppress(OSError), replacing(path) as temporary:
        temporary.write_text(text)
