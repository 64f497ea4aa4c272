"""Reads all records of a dataset and checks them."""

import collections
import hashlib
import os
from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np

from data.errors import InputError
from data.progress import progress
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.schema import Clip, DatasetMetadata, Query
from data.validate.distribution import Distribution

_HASH_BYTES = 16
# Largest number of constant feature dimensions that the report lists.
_DIMENSIONS_LISTED = 8

Record = TypeVar("Record", covariant=True)


class Validation:
    """Checks of a dataset: add all clips, then all queries, then call `finish`.

    It keeps ids, durations and hashes of the clips, never their features.

    Attributes:
      metadata: metadata of the dataset.
      counts: numbers by what is counted, such as 'frames', and by split.
      lengths: distributions by what is measured, such as 'frames per clip'.
      errors, warnings: faults by kind, with examples.
    """

    def __init__(self, metadata: DatasetMetadata):
        self.metadata = metadata
        self.counts: dict[str, collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )
        self.lengths = {
            "frames per clip": Distribution(),
            "subtitles per clip": Distribution(),
            "tokens per subtitle": Distribution(),
            "seconds per subtitle": Distribution(decimals=2),
            "tokens per query": Distribution(),
            "seconds per moment": Distribution(decimals=2),
        }
        self.errors, self.warnings = Report(), Report()
        self._durations: dict[tuple[str, str], float] = {}
        self._split_of_content: dict[bytes, tuple[str, str]] = {}
        self._splits_of_video: dict[str, list[str]] = {}
        self._query_ids: set[str] = set()
        # Numbers of true, false and unlabelled statements, by split and pair.
        self._pairs: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0, 0])
        self._first_frame: np.ndarray | None = None
        # Feature dimensions in which all frames so far equal the first frame.
        self._constant = np.arange(metadata.feature_width)

    def add_clip(self, split: str, number: int, clip: Clip) -> None:
        """Checks record `number` of the clips of `split`."""
        where = f"clip {clip.clip_id} ({split}, record {number})"
        earlier = self._splits_of(clip.clip_id)
        if earlier:
            self.errors.add("clip ids that come twice", f"{where}: before in {earlier[0]}")
        self._durations.setdefault((split, clip.clip_id), clip.duration)
        if clip.video_id:
            splits = self._splits_of_video.setdefault(clip.video_id, [])
            if split not in splits:
                splits.append(split)
        self._count(split, "clips", 1)
        self._count(split, "frames", len(clip.frame_features))
        self._count(split, "clips with frame images", bool(clip.frame_images))
        self.lengths["frames per clip"].add([len(clip.frame_features)])
        self._check_features(split, where, clip)
        self._check_subtitles(split, where, clip)

    def _check_features(self, split: str, where: str, clip: Clip) -> None:
        features, step = clip.frame_features, self.metadata.seconds_per_feature
        if not len(features):
            self.errors.add("clips without frames", where)
            return
        if not abs(clip.duration / step - len(features)) <= 1:
            self.errors.add(
                "clips whose duration and number of frames disagree",
                f"{where}: {clip.duration:g} s, but {len(features)} frames of {step:g} s",
            )
        bad = np.flatnonzero(~np.isfinite(features).all(1))
        if bad.size:
            self.errors.add(
                "clips with NaN or infinite features",
                f"{where}: {bad.size} of {len(features)} frames, the first is {bad[0]}",
            )
            return
        if len(features) > 1 and (features == features[0]).all():
            self.warnings.add("clips whose frames are all equal", f"{where}: {len(features)}")
        if self._first_frame is None:
            self._first_frame = features[0].copy()
        same = features[:, self._constant] == self._first_frame[self._constant]
        self._constant = self._constant[same.all(0)]
        content = hashlib.blake2b(features.tobytes(), digest_size=_HASH_BYTES).digest()
        first_split, first_id = self._split_of_content.setdefault(content, (split, clip.clip_id))
        if first_split != split and first_id != clip.clip_id:
            self.warnings.add(
                "clips with the same features as one of another split",
                f"{where}: clip {first_id} of {first_split}",
            )

    def _check_subtitles(self, split: str, where: str, clip: Clip) -> None:
        total = len(clip.subtitle_texts)
        frame_subtitle = clip.frame_subtitle[clip.frame_subtitle >= 0]
        self._count(split, "frames under a subtitle", len(frame_subtitle))
        self._count(split, "subtitles", total)
        self._count(split, "subtitle tokens", len(clip.token_ids))
        self._count(split, "clips without subtitles", not total)
        self.lengths["subtitles per clip"].add([total])
        self.lengths["tokens per subtitle"].add(clip.token_counts)
        self.lengths["seconds per subtitle"].add(clip.subtitle_ends - clip.subtitle_starts)
        if not total:
            self.warnings.add("clips without subtitles", where)
        self._check_tokens(where, clip.token_ids)
        unmatched = total - len(np.unique(frame_subtitle))
        self._count(split, "subtitles that have no frames", unmatched)
        self.warnings.add(
            "subtitles that have no frames", f"{where}: {unmatched} of {total}", unmatched
        )
        empty = int((clip.token_counts == 0).sum())
        self.warnings.add("subtitles that have no tokens", f"{where}: {empty} of {total}", empty)

    def _check_tokens(self, where: str, token_ids: np.ndarray) -> None:
        unknown = token_ids[(token_ids < 0) | (token_ids >= self.metadata.vocab_size)]
        if unknown.size:
            self.errors.add(
                "token ids that are not in the vocabulary",
                f"{where}: {unknown[0]} of a vocabulary of {self.metadata.vocab_size}",
                unknown.size,
            )

    def add_query(self, split: str, number: int, query: Query) -> None:
        """Checks record `number` of the queries of `split`, after all clips were added."""
        where = f"query {query.query_id} ({split}, record {number})"
        if query.query_id in self._query_ids:
            self.errors.add("query ids that come twice", where)
        self._query_ids.add(query.query_id)
        self._count(split, "queries", 1)
        self._count(split, "query tokens", len(query.token_ids))
        self._count(split, "queries without a clip", not query.clip_id)
        self._count(split, "queries without a moment", not len(query.moments))
        self.lengths["tokens per query"].add([len(query.token_ids)])
        self._check_tokens(where, query.token_ids)
        self._check_tokens(where, query.answer_token_ids)
        self._check_label(split, where, query)
        duration = self._durations.get((split, query.clip_id))
        if query.clip_id and duration is None:
            splits = self._splits_of(query.clip_id)
            fault = "is in another split" if splits else "is in no split"
            of_split = f" of {splits[0]}" if splits else ""
            self.errors.add(
                f"queries about a clip that {fault}", f"{where}: clip {query.clip_id}{of_split}"
            )
        self._check_moments(where, query, np.inf if duration is None else duration)

    def _check_label(self, split: str, where: str, query: Query) -> None:
        is_statement = self.metadata.query_type == "statement"
        choices = 2 if is_statement else len(query.answers)
        self._count(split, "queries without a label", bool(choices) and query.label == -1)
        if not -1 <= query.label < choices:
            self.errors.add(
                "labels that are none of the answers", f"{where}: {query.label} of {choices}"
            )
        if is_statement and query.group:
            self._pairs[split, query.group][{1: 0, 0: 1}.get(query.label, 2)] += 1
        elif is_statement:
            self.warnings.add("statements whose pair is missing", f"{where}: it has no group")

    def _check_moments(self, where: str, query: Query, duration: float) -> None:
        """Checks that moments are in a clip of this `duration`, infinite if it is unknown."""
        step = self.metadata.seconds_per_feature
        for start, end in query.moments.tolist():
            example = f"{where}: {start:g} to {end:g} s"
            if duration < np.inf:
                example += f" of {duration:g} s"
            if not (0 <= start <= end < np.inf and start < duration and end <= duration + step):
                self.errors.add("moments outside their clip", example)
            elif end > duration:
                self.warnings.add("moments that end less than a frame after their clip", example)
        self.lengths["seconds per moment"].add(query.moments[:, 1] - query.moments[:, 0])

    def finish(self) -> None:
        """Adds the faults that only all records together show."""
        if self._first_frame is not None and self._constant.size:
            listed = ", ".join(map(str, self._constant[:_DIMENSIONS_LISTED]))
            more = ", ..." if self._constant.size > _DIMENSIONS_LISTED else ""
            self.warnings.add(
                "feature dimensions that have one value in all frames",
                f"of {self.metadata.feature_width}: {listed}{more}",
                self._constant.size,
            )
        for video_id, splits in self._splits_of_video.items():
            if len(splits) > 1:
                self.warnings.add(
                    "videos with clips in several splits", f"video {video_id}: {', '.join(splits)}"
                )
        for (split, group), (true, false, unlabelled) in self._pairs.items():
            self.warnings.add(
                "statements whose pair is missing",
                f"group {group} ({split}): {true} true, {false} false, {unlabelled} unlabelled",
                abs(true - false) + unlabelled % 2,
            )

    def _splits_of(self, clip_id: str) -> list[str]:
        """Returns the splits that have a clip with this id."""
        return [split for split in self.metadata.clips if (split, clip_id) in self._durations]

    def _count(self, split: str, what: str, count: int) -> None:
        self.counts[what][split] += count


def validate(dataset_dir: str | os.PathLike) -> Validation:
    """Reads and checks all records of a dataset.

    Raises:
      InputError: there is no dataset, or one of its files is missing.
    """
    metadata = DatasetMetadata.load(dataset_dir)
    validation = Validation(metadata)
    for split in metadata.clips:
        clips = _read_all(Split(dataset_dir, split), f"clips of {split}", validation.errors)
        for number, clip in clips:
            validation.add_clip(split, number, clip)
    for split in metadata.queries:
        queries = _read_all(
            QuerySplit(dataset_dir, split), f"queries of {split}", validation.errors
        )
        for number, query in queries:
            validation.add_query(split, number, query)
    validation.finish()
    return validation


class _ReadableRecords(Protocol[Record]):
    """Records of one split."""

    def __len__(self) -> int: ...

    def read(self, number: int, /) -> Record | None: ...


def _read_all(
    records: _ReadableRecords[Record], label: str, errors: Report
) -> Iterator[tuple[int, Record]]:
    """Yields the number and the content of each record, and counts damaged ones in `errors`."""
    for number in progress(range(len(records)), label, len(records)):
        try:
            record = records.read(number)
        except InputError as error:
            errors.add("damaged records", str(error))
        else:
            assert record is not None  # Only a reader that skips damaged records returns None.
            yield number, record
