"""A source of clips and queries from the original's databases."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.records.alignment import align
from data.report import Report
from data.schema import RawClip
from data.sources.annotations.base import Annotation
from data.sources.annotations.registry import same_type
from data.sources.original.database import SubtitleDatabase, VideoDatabase
from data.sources.original.queries import read_queries
from data.sources.raw import RawSource, open_source
from data.sources.subtitles import open_subtitles
from data.tokenizer import Tokenizer, normalise_subtitle

# Of the subtitles whose stored tokens are compared with the tokenizer's.
COMPARED_CLIPS = 100


class OriginalSource(RawSource):
    """A `RawSource` of databases, with token ids as they are stored."""

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """The clip; frames are given to subtitles anew, and it is counted if that makes a change.

        Raises:
          InputError: the clip cannot be used.
        """
        clips = super().clips(video_id, report)
        if isinstance(self.subtitles, SubtitleDatabase) and clips[0].subtitles:
            num_frames = len(clips[0].features[0])
            stored = self.subtitles.stored_alignment(video_id, num_frames)
            # Records have them in order of their starts.
            subtitles = clips[0].subtitles
            order = sorted(range(len(subtitles)), key=lambda index: subtitles[index].start)
            in_order = [subtitles[index] for index in order]
            aligned = align(in_order, num_frames, self.seconds_per_feature)
            differ = not np.array_equal(stored, np.array([*order, -1])[aligned])
            report.add("clips whose frames are given to other subtitles", video_id, int(differ))
        return clips


def open_databases(
    video_db: Path,
    subtitles_db: Path | None,
    queries_dbs: Sequence[tuple[str, Path]],
    tokenizer: Tokenizer,
    *,
    splits: Mapping[str, Sequence[str]],
    shares: Mapping[str, float],
    widths: Sequence[int],
    seconds_per_feature: float | None,
) -> tuple[OriginalSource, str]:
    """Brings databases of features, subtitles and queries together.

    Args:
      subtitles_db: None if nobody speaks.
      queries_dbs: each with its split, or ''.
      tokenizer: the one that the databases were made with; it cannot be read from them.
      splits, shares: see `data.sources.raw.open_source`.
      widths: of the parts of the stored feature vector; one part if empty.
      seconds_per_feature: what the subtitles' database says if None.

    Returns:
      The source, and what the databases call their tokenizer ('' if they do not say).

    Raises:
      InputError: databases that cannot be used, or that do not go together.
    """
    report = Report()
    features = VideoDatabase(video_db, widths)
    name, subtitles = "", open_subtitles(None)
    if subtitles_db is not None:
        subtitles = SubtitleDatabase(subtitles_db)
        name = subtitles.tokenizer_name
        stated = subtitles.seconds_per_feature
        if seconds_per_feature not in (None, stated):
            raise InputError(
                f"--seconds_per_feature={seconds_per_feature:g}, but {subtitles_db} was made for "
                f"{stated:g}: correct it, or leave it out"
            )
        seconds_per_feature = stated
        _check_tokenizer(tokenizer, subtitles, subtitles_db, report)
    annotations, query_type = [], ""
    for split, folder in queries_dbs:
        found, stored = read_queries(folder, report)
        query_type = same_type(query_type, found, folder)
        annotations += [
            Annotation(item.query, f"{folder}, query {item.query.query_id}", split, item.duration)
            for item in stored
        ]
    source = open_source(
        features,
        subtitles,
        annotations,
        query_type,
        splits=splits,
        shares=shares,
        seconds_per_feature=seconds_per_feature,
        clip_seconds=0.0,
        report=report,
        source_class=OriginalSource,
    )
    return source, name


def _check_tokenizer(
    tokenizer: Tokenizer, subtitles: SubtitleDatabase, folder: Path, report: Report
) -> None:
    """InputError unless the tokenizer can be the one that made the database's token ids."""
    if tokenizer.special != subtitles.special_ids:
        raise InputError(
            f"{folder} has special tokens {subtitles.special_ids}, the tokenizer "
            f"{tokenizer.special}: give the tokenizer that made it, {subtitles.tokenizer_name}"
        )
    looked_at = [
        (clip_id, subtitle)
        for clip_id in itertools.islice(sorted(subtitles.ids()), COMPARED_CLIPS)
        for subtitle in subtitles.read(clip_id, Report())
    ]
    others = [
        f"{clip_id}: {subtitle.text!r}"
        for clip_id, subtitle in looked_at
        if tokenizer.encode(normalise_subtitle(subtitle.text)) != list(subtitle.token_ids)
    ]
    if 2 * len(others) > len(looked_at):
        raise InputError(
            f"{folder} has other tokens than the tokenizer makes for {len(others)} of "
            f"{len(looked_at)} subtitles, as of {others[0]}: give the tokenizer that made it, "
            f"{subtitles.tokenizer_name}"
        )
    for other in others:
        report.add("subtitles with other tokens than the tokenizer's: kept as stored", other)
