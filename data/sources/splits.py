"""Which videos are for training, validation and test: as files or annotations say, or by lot."""

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data.errors import InputError
from data.schema import SPLIT_NAMES, SPLITS
from data.sources.annotations.base import Annotation
from data.sources.json_files import json_file


def split_and_path(text: str) -> tuple[str, Path]:
    """`SPLIT=PATH` as a split's name here and a path; `PATH` alone as '' and the path."""
    name, equals, path = text.partition("=")
    if equals and name in SPLIT_NAMES:
        return SPLIT_NAMES[name], Path(path)
    if equals and name.isalpha() and not Path(text).exists():
        raise InputError(f"{name!r} of {text} is no split: train, validation (or val) and test are")
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
        content = json_file(path)
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


def splits_of_annotations(annotations: Iterable[Annotation]) -> dict[str, list[str]]:
    """Video ids by the split of annotations that tell one; InputError for a video in two."""
    found: dict[str, Annotation] = {}
    for annotation in annotations:
        video_id = annotation.query.clip_id
        if not annotation.split or not video_id:
            continue
        first = found.setdefault(video_id, annotation)
        if first.split != annotation.split:
            raise InputError(
                f"{video_id} is in {first.split} at {first.where} and in {annotation.split} at "
                f"{annotation.where}: say with --splits which split each video is in"
            )
    splits = {
        split: [video_id for video_id, first in found.items() if first.split == split]
        for split in SPLITS
    }
    return {split: ids for split, ids in splits.items() if ids}


def splits_by_lot(ids: Iterable[str], shares: Mapping[str, float]) -> dict[str, list[str]]:
    """Deals ids out by a hash: the same ids always fall the same way.

    Args:
      shares: of validation and test, from 0 to 1; the others are for training.

    Raises:
      InputError: shares that leave nothing for training.
    """
    if any(not 0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise InputError(
            f"shares of {' and '.join(f'{share:g} for {name}' for name, share in shares.items())}: "
            "each has to be from 0 to below 1, and together they have to leave some for training"
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
