"""Finds the videos of a dataset: those with features, by split."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from data.errors import InputError
from data.report import Report
from data.sources.base import FeatureReader
from data.sources.names import check_alike, nearest, spellings, tell_spellings
from data.sources.splits import random_splits


def default_splits(ids: Iterable[str], shares: Mapping[str, float]) -> dict[str, list[str]]:
    """Returns random splits with these shares, and logs that; see `random_splits`."""
    splits = random_splits(ids, shares)
    logging.warning("No splits are given: videos are split randomly: %s.", ", ".join(splits))
    return splits


def with_feature_ids(splits: Mapping[str, Sequence[str]], ids: set[str]) -> dict[str, list[str]]:
    """Returns the splits with the ids of the videos that their names are like."""
    listed = {name for names in splits.values() for name in names}
    found = spellings(listed, ids)
    tell_spellings(found, "of the splits")
    id_of = {name: video_id for video_id, name in found.items()}
    return {split: [id_of.get(name, name) for name in names] for split, names in splits.items()}


def with_features(
    listed: Mapping[str, Sequence[str]],
    features: FeatureReader,
    subtitle_ids: set[str],
    report: Report,
) -> dict[str, list[str]]:
    """Returns the listed videos that have features, by split, and counts what is not used.

    Raises:
      InputError: no video of a split has features, or names of the splits, features and subtitles
        hardly ever agree.
    """
    feature_ids, incomplete = features.ids(), features.incomplete()
    listed_ids = {video_id for ids in listed.values() for video_id in ids}
    check_alike(listed_ids, feature_ids, "videos in the splits", "videos with features")
    videos = {split: [i for i in ids if i in feature_ids] for split, ids in listed.items()}
    for split, ids in listed.items():
        missing = [i for i in ids if i not in feature_ids]
        if not videos[split]:
            raise InputError(
                f"no video of split {split} has features in all parts: correct the features or "
                f"the splits ({missing[0]}, for one, is not there) "
                f"{nearest(missing, feature_ids)}"
            )
        for video_id in missing:
            report.add("videos without features: skipped", f"{video_id} of {split}")
    report.add_all("videos with features but in no split: not used", feature_ids - listed_ids)
    report.add_all(
        "videos with subtitles but without features: not used", subtitle_ids - feature_ids
    )
    report.add_all(
        "videos with subtitles but in no split: not used",
        (subtitle_ids & feature_ids) - listed_ids,
    )
    _check_subtitles(videos, feature_ids, subtitle_ids)
    report.add_all(
        "videos that lack a part of the features: not used",
        (f"{i}: not in {incomplete[i]}" for i in incomplete.keys() - listed_ids),
    )
    return videos


def _check_subtitles(
    videos: Mapping[str, Sequence[str]], feature_ids: set[str], subtitle_ids: set[str]
) -> None:
    """Raises InputError if there are subtitles, but hardly any of the dataset's videos."""
    check_alike(subtitle_ids, feature_ids, "videos with subtitles", "videos with features")
    used = {video_id for ids in videos.values() for video_id in ids}
    if subtitle_ids and not used & subtitle_ids:
        raise InputError(
            f"none of the {len(used):,} videos in the splits has subtitles, which are of other "
            "videos: correct the splits, or leave the subtitles out "
            f"{nearest(used, subtitle_ids)}"
        )
