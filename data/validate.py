"""Checks a dataset: `python -m data.validate datasets/tv`.

Reads every record once and prints counts, lengths, what the limits of the configuration would cut,
then warnings (look at these) and errors (put these right). Ends with status 1 if there are errors.
"""

import argparse
import collections
import hashlib
import os
import signal
import sys
from collections.abc import Iterable, Sequence

import numpy as np

from data.command import ends_with_a_sentence
from data.errors import InputError
from data.progress import progress
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.schema import Clip, DatasetMetadata, Query

QUANTILES = {"min": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "max": 1.0}
_HASH_BYTES = 16
_DIMENSIONS_NAMED = 8


class Distribution:
    """How often each length came up; its size depends on how many different ones there are."""

    def __init__(self, decimals: int = 0):
        """Lengths are rounded to so many `decimals`."""
        self.decimals = decimals
        self.counts: collections.Counter[float] = collections.Counter()

    def add(self, lengths: Sequence[float] | np.ndarray) -> None:
        """Counts more lengths; NaN and infinities are none."""
        lengths = np.asarray(lengths, np.float64)
        rounded = np.round(lengths[np.isfinite(lengths)], self.decimals)
        values, counts = np.unique(rounded, return_counts=True)
        self.counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """For each share the smallest length that at least this share does not exceed."""
        values = sorted(self.counts)
        reached = np.cumsum([self.counts[value] for value in values])
        return [values[np.searchsorted(reached, share * reached[-1])] for share in shares]

    def beyond(self, limit: int) -> tuple[int, int]:
        """How many are longer than `limit`, and by how much in all."""
        longer = {value: count for value, count in self.counts.items() if value > limit}
        excess = sum((value - limit) * count for value, count in longer.items())
        return sum(longer.values()), int(excess)


class Validation:
    """What is known of a dataset: add all clips, then all queries, then `finish`.

    Ids, durations and hashes are kept of each clip, never features.

    Attributes:
      metadata: of the dataset.
      counts: by what is counted and split.
      lengths: distributions by what is measured.
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
        # True, false and unlabelled statements of each pair.
        self._pairs: dict[tuple[str, str], list[int]] = collections.defaultdict(lambda: [0, 0, 0])
        self._first_frame: np.ndarray | None = None
        # Dimensions that had the first frame's value in all frames so far.
        self._constant = np.arange(metadata.feature_width)

    def add_clip(self, split: str, number: int, clip: Clip) -> None:
        """Checks record `number` of the clips of `split`."""
        where = f"clip {clip.clip_id} ({split}, record {number})"
        others = [s for s in self.metadata.clips if (s, clip.clip_id) in self._durations]
        if others:
            self.errors.add("clip ids that come twice", f"{where}: before in {others[0]}")
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
        owners = clip.frame_subtitle[clip.frame_subtitle >= 0]
        self._count(split, "frames under a subtitle", len(owners))
        self._count(split, "subtitles", total)
        self._count(split, "subtitle tokens", len(clip.token_ids))
        self._count(split, "clips without subtitles", not total)
        self.lengths["subtitles per clip"].add([total])
        self.lengths["tokens per subtitle"].add(clip.token_counts)
        self.lengths["seconds per subtitle"].add(clip.subtitle_ends - clip.subtitle_starts)
        if not total:
            self.warnings.add("clips without subtitles", where)
        self._check_tokens(where, clip.token_ids)
        unmatched = total - len(np.unique(owners))
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
        """Checks record `number` of the queries of `split`; all clips are known by now."""
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
            others = [s for s in self.metadata.clips if (s, query.clip_id) in self._durations]
            fault = "is in another split" if others else "is in no split"
            place = f" of {others[0]}" if others else ""
            self.errors.add(
                f"queries about a clip that {fault}", f"{where}: clip {query.clip_id}{place}"
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
        """`duration` is that of the clip, infinite if it is not known."""
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
        """Notes what can be known only when everything has been seen."""
        if self._first_frame is not None and self._constant.size:
            named = ", ".join(map(str, self._constant[:_DIMENSIONS_NAMED]))
            more = ", ..." if self._constant.size > _DIMENSIONS_NAMED else ""
            self.warnings.add(
                "feature dimensions that have one value in all frames",
                f"of {self.metadata.feature_width}: {named}{more}",
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

    def _count(self, split: str, what: str, count: int) -> None:
        self.counts[what][split] += count


def validate(dataset_dir: str | os.PathLike) -> Validation:
    """Reads all records of a dataset.

    Raises:
      InputError: there is no dataset, or a file of it is missing.
    """
    metadata = DatasetMetadata.load(dataset_dir)
    validation = Validation(metadata)
    for kind, reader, add in (
        ("clips", Split, validation.add_clip),
        ("queries", QuerySplit, validation.add_query),
    ):
        for split in getattr(metadata, kind):
            records = reader(dataset_dir, split)
            for number in progress(range(len(records)), f"{kind} of {split}", len(records)):
                try:
                    record = records.read(number)
                except InputError as error:
                    validation.errors.add("damaged records", str(error))
                else:
                    add(split, number, record)
    validation.finish()
    return validation


def describe(validation: Validation, max_frames: int, max_tokens: int) -> str:
    """The report as text; the limits are those that packing cuts at."""
    metadata = validation.metadata
    widths = " + ".join(map(str, metadata.feature_widths))
    return "\n\n".join(
        [
            f"dataset {metadata.name}: a frame of {widths} values every "
            f"{metadata.seconds_per_feature:g} s, a vocabulary of {metadata.vocab_size:,}",
            _describe_counts(validation),
            _describe_lengths(validation.lengths),
            _describe_shares(validation, max_frames, max_tokens),
            _describe_faults("Warnings", validation.warnings),
            _describe_faults("Errors", validation.errors),
        ]
    )


def _describe_counts(validation: Validation) -> str:
    splits = list(validation.metadata.clips | validation.metadata.queries)
    rows = [["Counts", *splits, "all"]]
    for what, by_split in validation.counts.items():
        if by_split.total():
            numbers = [*(by_split[split] for split in splits), by_split.total()]
            rows.append([what, *(f"{number:,}" for number in numbers)])
    return _table(rows)


def _describe_lengths(lengths: dict[str, Distribution]) -> str:
    rows = [["Lengths", "number", *QUANTILES]]
    for what, distribution in lengths.items():
        if distribution.counts:
            values = distribution.quantiles(QUANTILES.values())
            numbers = [f"{value:,.{distribution.decimals}f}" for value in values]
            rows.append([what, f"{distribution.counts.total():,}", *numbers])
    return _table(rows)


def _describe_shares(validation: Validation, max_frames: int, max_tokens: int) -> str:
    totals = {what: by_split.total() for what, by_split in validation.counts.items()}
    shares = [
        (part, totals.get(part, 0), whole)
        for part, whole in (
            ("frames under a subtitle", "frames"),
            ("subtitles that have no frames", "subtitles"),
            ("clips without subtitles", "clips"),
        )
    ]
    for distribution, whole, part, limit in (
        ("frames per clip", "clips", "frames", max_frames),
        ("tokens per subtitle", "subtitles", "subtitle tokens", max_tokens),
        ("tokens per query", "queries", "query tokens", max_tokens),
    ):
        longer, cut = validation.lengths[distribution].beyond(limit)
        shares.append((f"{whole} of more than {limit} {part.split()[-1]}", longer, whole))
        shares.append((f"{part} cut by that", cut, part))
    rows = [["Shares", "", "of", ""]]
    for what, count, whole in shares:
        if totals.get(whole):
            share = f"{100 * count / totals[whole]:.1f}%"
            rows.append([what, f"{count:,}", f"{totals[whole]:,}", share])
    return _table(rows)


def _describe_faults(title: str, faults: Report) -> str:
    rows = [f"{title}: {faults.counts.total():,}" if faults.counts else f"{title}: none"]
    for what, count in faults.counts.items():
        rows.append(f"{count:>9,}  {what}")
        rows += [f"{'':>13}{example}" for example in faults.examples[what]]
    return "\n".join(rows)


def _table(rows: list[list[str]]) -> str:
    """Columns of text, the first to the left and the others to the right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        "  ".join(
            [row[0].ljust(first)]
            + [cell.rjust(max(width, 6)) for cell, width in zip(row[1:], others, strict=True)]
        ).rstrip()
        for row in rows
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the report; status 1 if the dataset has errors."""
    parser = argparse.ArgumentParser(prog="python -m data.validate", description=__doc__)
    parser.add_argument("dataset", help="its folder")
    for limit, default in (("frames", 100), ("tokens", 60)):
        parser.add_argument(
            f"--max_{limit}",
            type=int,
            default=default,
            help=f"batch.max_{limit} of the configuration; default: %(default)s",
        )
    args = parser.parse_args(arguments)
    with ends_with_a_sentence():
        for limit in ("max_frames", "max_tokens"):
            if getattr(args, limit) < 1:
                raise InputError(f"--{limit} is {getattr(args, limit)}: it has to be at least 1")
        validation = validate(args.dataset)
    print(describe(validation, args.max_frames, args.max_tokens))
    if validation.errors.counts:
        sys.exit(1)


if __name__ == "__main__":
    # Whoever reads the output may have seen enough.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
