"""Which videos are for training, validation and test: as files or annotations say, or by lot."""

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data.errors import InputError
from data.schema import SPLITS

# What splits are called elsewhere.
SPLIT_NAMES = {"val": "validation", "dev": "validation", "validate": "validation"} | {
    split: split for split in SPLITS
}


def split_and_path(text: str) -> tuple[str, Path]:
    """`SPLIT=PATH` as a split's name here and a path; `PATH` alone as '' and the path."""
    name, equals, path = text.partition("=")
    if equals and name in SPLIT_NAMES:
        return SPLIT_NAMES[name], Path(path)
    return "", Path(text)


def read_splits(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Video ids by split, from one file of all splits or from a file for each.

    Args:
      arguments: none for no splits; `FILE` holds `{"train": [ID, ...], "val": [...]}`, and
        `SPLIT=FILE` `[ID, ...]`.

    Raises:
      InputError: a file that cannot be used, or a video in two splits.
    """
    found: dict[str, list[str]] = {}
    for argument in arguments:
        split, path = split_and_path(argument)
        content = _read_json(path)
        if split:
            content = {split: content}
        elif not isinstance(content, dict):
            raise InputError(
                f'{path} has to be {{"train": [ID, ...], ...}}; give a list of ids as '
                f"--splits=train={path}"
            )
        for name, ids in content.items():
            ours = SPLIT_NAMES.get(name)
            if ours is None or ours in found:
                raise InputError(
                    f"{path} has a split {name!r}: there can be one each of train, validation (or "
                    "val) and test"
                )
            if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
                raise InputError(f"{path}: split {name!r} has to be a list of video ids")
            if name != ours:
                logging.warning("Split %s of %s is called %s in the dataset.", name, path, ours)
            found[ours] = ids
    _check_once(found, ", ".join(arguments))
    if arguments and not any(found.values()):
        raise InputError(f"{', '.join(arguments)} names no videos: list their ids by split")
    return {split: found[split] for split in SPLITS if found.get(split)}


def splits_of_annotations(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Video ids by split from pairs of a split and a video; InputError for one in two splits."""
    found: dict[str, dict[str, None]] = {}
    for split, video_id in named:
        found.setdefault(split, {})[video_id] = None
    splits = {split: list(found[split]) for split in SPLITS if split in found}
    _check_once(splits, "the annotations")
    return splits


def splits_by_lot(ids: Iterable[str], shares: Mapping[str, float]) -> dict[str, list[str]]:
    """Deals ids out by a hash: the same ids always fall the same way.

    Args:
      shares: of validation and test, from 0 to 1; the others are for training.

    Raises:
      InputError: shares that leave nothing for training.
    """
    if any(not 0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise InputError(
            f"{shares} of the videos for validation and test: both have to be from 0 to below 1 "
            "and leave some for training"
        )
    ordered = sorted(ids, key=lambda i: hashlib.sha256(i.encode()).digest())
    splits, first = {}, 0
    for split, share in shares.items():
        # A split that is asked for has a video, as long as one is left for training.
        stop = min(first + math.ceil(share * len(ordered)), len(ordered) - 1)
        splits[split] = ordered[first:stop]
        first = stop
    splits["train"] = ordered[first:]
    return {split: splits[split] for split in SPLITS if splits.get(split)}


def _check_once(splits: Mapping[str, Sequence[str]], where: str) -> None:
    seen: set[str] = set()
    for split, ids in splits.items():
        for video_id in ids:
            if video_id in seen:
                raise InputError(
                    f"{where} has {video_id} twice, the second time in {split}: leave it in one "
                    "split, once"
                )
            seen.add(video_id)


def _read_json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct --splits") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): correct it") from error
