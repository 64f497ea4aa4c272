"""Imports the raw layout: subtitles as JSON lines, a folder of `.npz` for each network, splits.

  subtitles     {"vid_name": ID, "sub": [{"text": ..., "start": seconds, "end": seconds}, ...]}
  DIR/ID.npz    array `features`, `[frames, width]`
  splits        {"train": [ID, ...], "val": [ID, ...], "test": [ID, ...]}
  queries       {"vid_name": ID, "desc_id": ..., "desc": ..., "ts": [start, end], "type": "v",
                "duration": seconds}, as TVR has them; a test set has no "vid_name" and no "ts"

The splits say which clips there are. What is missing, or left over, in the other files is counted.
"""

import collections
import json
import logging
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data.assembly import check_part
from data.errors import InputError
from data.schema import SPLITS, RawClip, RawQuery, RawSubtitle

# What splits are called elsewhere.
SPLIT_NAMES = {"val": "validation"} | {split: split for split in SPLITS}
# A query that names no clip belongs to a test set whose labels are kept back.
UNLABELLED_SPLIT = "test"
EXAMPLES = 3  # of skipped clips that are named in the log


class RawSource:
    """Clips and queries in the raw layout.

    Attributes:
      clip_ids: of the clips that have features, by split.
      queries: about those clips, by split.
      left_out: how much was skipped or cut, by what and why; complete when `clips` is through.
    """

    def __init__(
        self,
        subtitles: Path,
        features: Sequence[Path],
        splits: Path,
        queries: Sequence[Path],
        seconds_per_feature: float,
    ):
        """Reads everything but the features; InputError names what is wrong in which file."""
        self.left_out = collections.Counter()
        self._feature_dirs = features
        self._seconds_per_feature = seconds_per_feature
        wanted = _read_splits(splits)
        known = {clip_id for ids in wanted.values() for clip_id in ids}
        self._subtitles = _read_subtitles(subtitles)
        self.left_out["clips with subtitles but in no split: not used"] += len(
            self._subtitles.keys() - known
        )
        with_features = self._find_features(known)
        self.clip_ids = {
            split: [clip_id for clip_id in ids if clip_id in with_features]
            for split, ids in wanted.items()
        }
        for split, ids in wanted.items():
            self._report_missing(split, [i for i in ids if i not in with_features])
        self._durations: dict[str, float] = {}
        self.queries = self._read_queries(queries)

    def clips(self, split: str) -> Iterator[RawClip]:
        """The clips of a split, in its order; InputError for features that cannot be used."""
        for clip_id in self.clip_ids[split]:
            yield RawClip(
                clip_id=clip_id,
                features=self._read_parts(clip_id),
                subtitles=self._subtitles.get(clip_id, ()),
                duration=self._durations.get(clip_id),
            )

    def _find_features(self, known: set[str]) -> set[str]:
        """Those of the `known` clips that have a file in every feature folder."""
        with_features = known
        for folder in self._feature_dirs:
            if not folder.is_dir():
                raise InputError(f"feature folder {folder} does not exist: correct --features")
            found = {path.stem for path in folder.glob("*.npz")}
            with_features = with_features & found
            self.left_out["feature files of clips in no split: not used"] += len(found - known)
        return with_features

    def _report_missing(self, split: str, missing: list[str]) -> None:
        if not self.clip_ids[split]:
            raise InputError(
                f"no clip of split {split} has features: {missing[0]}.npz, for one, is not in all "
                f"of {', '.join(map(str, self._feature_dirs))}"
            )
        self.left_out["clips without features: skipped"] += len(missing)
        if missing:
            some = ", ".join(missing[:EXAMPLES]) + (", ..." if len(missing) > EXAMPLES else "")
            logging.warning("Skipped, without features: %d of %s: %s", len(missing), split, some)

    def _read_parts(self, clip_id: str) -> tuple[np.ndarray, ...]:
        """One array per network, all with the same number of frames."""
        paths = [folder / f"{clip_id}.npz" for folder in self._feature_dirs]
        parts = [_read_features(path) for path in paths]
        file_of = {len(part): path for part, path in zip(parts, paths, strict=True)}
        shortest, longest = min(file_of), max(file_of)
        if longest - shortest > 1:
            raise InputError(
                f"{file_of[shortest]} has {shortest} frames where {file_of[longest]} has "
                f"{longest}: extract one of them again (one frame more would be cut)"
            )
        step = self._seconds_per_feature
        seconds = self._durations.get(clip_id)
        if seconds is not None and abs(seconds / step - longest) > 1:
            raise InputError(
                f"{file_of[longest]} has {longest} frames, but the clip lasts {seconds} s, which "
                f"makes {seconds / step:.1f} of {step} s: "
                "correct --seconds_per_feature or extract it again"
            )
        self.left_out["frames cut: a part of the features is one longer"] += longest - shortest
        return tuple(part[:shortest] for part in parts)

    def _read_queries(self, paths: Sequence[Path]) -> dict[str, list[RawQuery]]:
        """Queries by the split of their clip; their clips' durations are noted."""
        split_of = {i: split for split, ids in self.clip_ids.items() for i in ids}
        queries = collections.defaultdict(list)
        for path in paths:
            for where, record in _json_lines(path):
                query = _parse_query(record, where)
                split = split_of.get(query.clip_id) if query.clip_id else UNLABELLED_SPLIT
                if split not in self.clip_ids:
                    self.left_out["queries of clips not in the dataset: skipped"] += 1
                    continue
                queries[split].append(query)
                if query.clip_id and "duration" in record:
                    seconds = _field(record, "duration", float, where)
                    if not 0 < seconds < math.inf:
                        raise InputError(f"{where}: duration is {seconds}: correct it")
                    self._durations[query.clip_id] = seconds
        return {split: queries[split] for split in self.clip_ids if queries[split]}


def _read_splits(path: Path) -> dict[str, list[str]]:
    """Clip ids by split, splits under our names; splits without clips are left out."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct --splits") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): correct it") from error
    if not isinstance(content, dict):
        raise InputError(f'{path} has to be {{"train": [ID, ...], ...}}')
    splits, seen = {}, set()
    for name, ids in content.items():
        split = SPLIT_NAMES.get(name)
        if split is None or split in splits:
            raise InputError(
                f"{path} has a split {name!r}: there can be one each of train, validation (or val) "
                "and test"
            )
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise InputError(f"{path}: split {name!r} has to be a list of clip ids")
        for clip_id in ids:
            if clip_id in seen:
                raise InputError(f"{path} has clip {clip_id} twice: leave it in one split, once")
            seen.add(clip_id)
        if name != split:
            logging.warning("Split %s of %s is called %s in the dataset.", name, path, split)
        splits[split] = ids
    if not seen:
        raise InputError(f"{path} names no clips: list their ids by split")
    return {split: splits[split] for split in SPLITS if splits.get(split)}


def _read_subtitles(path: Path) -> dict[str, tuple[RawSubtitle, ...]]:
    subtitles = {}
    for where, record in _json_lines(path):
        clip_id = _field(record, "vid_name", str, where)
        if clip_id in subtitles:
            raise InputError(f"{where}: clip {clip_id} comes a second time: join its lines")
        subtitles[clip_id] = tuple(
            _parse_subtitle(subtitle, f"{where}, subtitle {index}")
            for index, subtitle in enumerate(_field(record, "sub", list, where))
        )
    return subtitles


def _parse_subtitle(record: dict, where: str) -> RawSubtitle:
    if not isinstance(record, dict):
        raise InputError(f"{where} has to be an object with text, start and end")
    start, end = _field(record, "start", float, where), _field(record, "end", float, where)
    _check_times(start, end, where)
    return RawSubtitle(_field(record, "text", str, where), start, end)


def _parse_query(record: dict, where: str) -> RawQuery:
    moment = None
    if record.get("ts") is not None:
        moment = _field(record, "ts", list, where)
        if len(moment) != 2 or not all(isinstance(t, int | float) for t in moment):
            raise InputError(f"{where}: ts has to be [start, end] in seconds, not {moment}")
        _check_times(*moment, where)
        moment = float(moment[0]), float(moment[1])
    query_id = record.get("desc_id")
    if not isinstance(query_id, int | str):
        raise InputError(f"{where} has no desc_id: give the query an id")
    return RawQuery(
        query_id=str(query_id),
        clip_id=_field(record, "vid_name", str, where) if "vid_name" in record else "",
        text=_field(record, "desc", str, where),
        moments=() if moment is None else (moment,),
        kind=_field(record, "type", str, where) if "type" in record else "",
    )


def _check_times(start: float, end: float, where: str) -> None:
    if not (math.isfinite(start) and math.isfinite(end) and start <= end):
        raise InputError(f"{where} lasts from {start} to {end} seconds: correct the times")


def _json_lines(path: Path) -> Iterator[tuple[str, dict]]:
    """Where a line is, and the object on it; empty lines do not count as any."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                where = f"{path} line {number}"
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise InputError(f"{where} is not JSON ({error}): correct it") from error
                if not isinstance(record, dict):
                    raise InputError(f"{where} has to be an object in braces")
                yield where, record
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct its name") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error}): convert it") from error


def _field(record: dict, name: str, kind: type, where: str):
    """`record[name]` if it is of that kind; a whole number is a float too."""
    value = record.get(name)
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind):
        raise InputError(f"{where}: {name} has to be a {kind.__name__}, not {value!r}")
    if kind is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{where}: {name} has half of a surrogate pair: correct it") from error
    return value


def _read_features(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            if "features" not in file:
                raise InputError(
                    f"{path} has no array features but {', '.join(file) or 'none'}: save it under "
                    "that name"
                )
            part = file["features"]
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read ({error}): extract it again") from error
    check_part(part, str(path))
    return part
