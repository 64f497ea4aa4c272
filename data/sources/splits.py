"""Splits of videos into training, validation and test: from files, annotations, or random ones."""

import hashlib
import logging
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.arguments import several, user_path
from data.errors import InputError
from data.schema import SPLIT_NAMES, SPLITS
from data.sources.annotations.base import Annotation
from data.sources.json_files import read_json


def read_splits(files: Sequence[tuple[str, Path]]) -> dict[str, list[str]]:
    """Reads video ids by split.

    Args:
      files: pairs of a split and the JSON file with the list of its videos `[ID, ...]`; a file of
        all splits `{"train": [ID, ...], "val": [...]}` has '' in place of the split. VALUE's
        `TASK_video2dur_idx.json`, with an object of ids in place of each list, will do as well.

    Raises:
      InputError: a file cannot be used, a video occurs twice, or no videos are listed.
    """
    splits: dict[str, list[str]] = {}
    for file_split, path in several(files, "files", "pairs of a split and a path"):
        path = user_path(path)
        content = read_json(path)
        if file_split:
            content = {file_split: content}
        elif not isinstance(content, dict):
            raise InputError(
                f'{path} has to be {{"train": [ID, ...], ...}}: correct it, or name the split that '
                "a list of ids is of"
            )
        for name, ids in _joined(content).items():
            shown = reprlib.repr(name)
            ids = [*ids] if isinstance(ids, dict) else ids
            split = SPLIT_NAMES.get(name)
            if split is None or split in splits:
                raise InputError(
                    f"{path} has a split {shown}: give each of train, validation (or val), test, "
                    "test_public and test_private once at most"
                )
            if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
                raise InputError(f"{path} has a split {shown} that is no list of ids: correct it")
            if name != split:
                logging.warning("Split %s of %s is called %s in the dataset.", name, path, split)
            splits[split] = ids
    names = ", ".join(str(path) for _, path in files)
    _check_once(splits, names)
    if files and not any(splits.values()):
        raise InputError(f"{names} names no videos: list their ids by split")
    return {split: splits[split] for split in SPLITS if splits.get(split)}


def _joined(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the splits of a file, with VALUE's name for the two parts of TVR's test split."""
    match content:
        case {"test_public": dict(public), "test_challenge": dict(challenge), **others}:
            return others | {"test": public | challenge}
    return content


def splits_of_annotations(annotations: Iterable[Annotation]) -> dict[str, list[str]]:
    """Returns the videos by split that annotations with a split are about.

    Raises:
      InputError: annotations of two splits are about the same video.
    """
    first_of_video: dict[str, Annotation] = {}
    for annotation in annotations:
        video_id = annotation.query.clip_id
        if not annotation.split or not video_id:
            continue
        first = first_of_video.setdefault(video_id, annotation)
        if first.split != annotation.split:
            raise InputError(
                f"{video_id} is in {first.split} at {first.where} and in {annotation.split} at "
                f"{annotation.where}: give files of splits that say which split each video is in"
            )
    splits = {
        split: [video_id for video_id, first in first_of_video.items() if first.split == split]
        for split in SPLITS
    }
    return {split: ids for split, ids in splits.items() if ids}


def random_splits(ids: Iterable[str], shares: Mapping[str, float]) -> dict[str, list[str]]:
    """Splits videos randomly but reproducibly, by a hash of their ids.

    Args:
      shares: shares of validation and test, from 0 to 1; the other videos are for training.

    Raises:
      InputError: the shares leave nothing for training.
    """
    if any(not 0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        described = " and ".join(f"{share:g} for {name}" for name, share in shares.items())
        raise InputError(
            f"shares of {described} leave nothing for training: each has to be from 0 to below 1, "
            "and so has their sum"
        )
    ordered = sorted(ids, key=lambda i: hashlib.sha256(i.encode()).digest())
    splits, start = {}, 0
    for split, share in shares.items():
        # A split with a share gets at least one video, as long as one is left for training.
        stop = min(start + math.ceil(share * len(ordered)), len(ordered) - 1)
        splits[split] = ordered[start:stop]
        start = stop
    splits["train"] = ordered[start:]
    return {split: splits[split] for split in SPLITS if splits.get(split)}


def _check_once(splits: Mapping[str, Sequence[str]], names: str) -> None:
    seen: set[str] = set()
    for split, ids in splits.items():
        for video_id in ids:
            if video_id in seen:
                raise InputError(
                    f"{names} has {video_id} twice, the second time in {split}: leave it in one "
                    "split, once"
                )
            seen.add(video_id)
