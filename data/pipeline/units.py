"""What a downstream task reads together: a clip, and some of the queries about it."""

import collections
import contextlib
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from data.errors import InputError
from data.files import replacing
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.schema import DatasetMetadata, Query, records_dir, tokenizer_path
from data.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Unit:
    """clip: number of its record; queries: numbers of the records of what is asked of it."""

    clip: int
    queries: tuple[int, ...]


class AnnotatedSplit:
    """The clips and queries of a split.

    Attributes:
      name: of the split.
      clips: `data.records.reader.Split`.
      clip_ids: by the number of the record, '' for a damaged one.
      queries: by the number of the record, None for a damaged one.
      metadata, tokenizer: of the dataset.
    """

    def __init__(self, dataset_dir, split: str, on_corrupt: str = "error"):
        """Reads all queries, and finds the numbers of the clips.

        Raises:
          InputError: the split is not there, or has no queries.
        """
        self.name = split
        self.clips = Split(dataset_dir, split, on_corrupt)
        self.metadata: DatasetMetadata = self.clips.metadata
        records = QuerySplit(dataset_dir, split, on_corrupt)
        self.queries = [records.read(number) for number in range(len(records))]
        self.clip_ids = clip_ids(Path(dataset_dir), split, self.clips)
        self.tokenizer = Tokenizer.load(tokenizer_path(dataset_dir))
        self._numbers = {name: number for number, name in enumerate(self.clip_ids) if name}

    def clip_of(self, query: Query) -> int | None:
        """The number of the clip that a query is about, None if it is not known or not here."""
        return self._numbers.get(query.clip_id)

    def units(
        self,
        group: Callable[[int, Query], object],
        most: int,
        problem: Callable[[Query], str],
        *,
        first_of_group: bool = False,
    ) -> tuple[list[Unit], Report]:
        """Queries about a clip that belong together.

        Args:
          group: of a query's number and the query, the same for queries that belong together.
          most: queries in a unit; what belongs together is divided if there are more.
          problem: why a query is left out, '' if it is not.
          first_of_group: of queries with the same `group` field, only the first is taken, without a
            word: the others say the same.

        Returns:
          Units in the order of their first query, and what was left out.
        """
        report, together, groups = Report(), collections.defaultdict(list), set()
        for number, query in enumerate(self.queries):
            if query is None:
                report.add("damaged queries", str(number))
                continue
            if first_of_group and query.group and query.group in groups:
                continue
            groups.add(query.group)
            clip = self.clip_of(query)
            why = "queries whose clip is not known" if clip is None else problem(query)
            if why:
                report.add(why, query.query_id)
            else:
                together[clip, group(number, query)].append(number)
        units = [
            Unit(clip, tuple(numbers[first : first + most]))
            for (clip, _), numbers in together.items()
            for first in range(0, len(numbers), most)
        ]
        return units, report


def one_by_one(number: int, query: Query) -> int:
    """Every query is a unit of its own."""
    del query
    return number


def by_clip(number: int, query: Query) -> str:
    """All queries of a clip belong together."""
    del number, query
    return ""


def by_group(number: int, query: Query) -> object:
    """Queries of a group belong together, those without one are alone."""
    return query.group or number


def cut(words: Sequence[int], most: int) -> list[int]:
    """At most so many of a query's tokens."""
    return [int(word) for word in words[: max(most, 0)]]


def clip_ids(dataset_dir: Path, split: str, clips: Split) -> list[str]:
    """Ids of all clips, '' for a damaged one; a list beside the shards has them, or is made.

    Raises:
      InputError: two clips have the same.
    """
    path = records_dir(dataset_dir, "clips") / f"{split}.ids.json"
    found = _read_ids(path, split)
    if found is not None and len(found) == len(clips):
        return found
    found = [clip.clip_id if clip else "" for clip in map(clips.read, range(len(clips)))]
    names = [*filter(None, found)]
    if len(set(names)) < len(names):
        raise InputError(f"two clips of {dataset_dir} have the same name: build the dataset again")
    if not clips.corrupt:
        _write(path, json.dumps(found))
    return found


def _read_ids(path: Path, split: str) -> list[str] | None:
    """The list, None if there is none or one of the shards is younger."""
    try:
        made = path.stat().st_mtime_ns
        shards = path.parent.glob(f"*-{split}.tfrecord-*-of-?????")
        if any(shard.stat().st_mtime_ns > made for shard in shards):
            return None
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, list) else None


def _write(path: Path, text: str) -> None:
    # As in `data.records.tfrecord`.
    with contextlib.suppress(OSError), replacing(path) as temporary:
        temporary.write_text(text)
