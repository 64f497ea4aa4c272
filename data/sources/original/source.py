"""Makes a source of the original's databases."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data.arguments import several
from data.errors import InputError
from data.records.alignment import align
from data.report import Report
from data.schema import RawClip
from data.sources.annotations.base import Annotation
from data.sources.annotations.registry import same_type
from data.sources.base import SubtitleReader
from data.sources.original.database import SubtitleDatabase, VideoDatabase
from data.sources.original.queries import read_queries
from data.sources.raw import RawSource, open_source
from data.sources.subtitles import NoSubtitles
from data.tokenizer import Tokenizer, normalise_subtitle

# Number of clips whose stored token ids are compared with the tokenizer's.
COMPARED_CLIPS = 100


class OriginalSource(RawSource):
    """A `RawSource` of databases, with the stored token ids."""

    def clips(self, video_id: str, report: Report) -> list[RawClip]:
        """Returns the clip, and counts it if records will have another alignment than stored.

        The alignment is the subtitle that each frame belongs to.

        Raises:
          InputError: the clip cannot be used.
        """
        clips = super().clips(video_id, report)
        if isinstance(self.subtitles, SubtitleDatabase) and clips[0].subtitles:
            num_frames = len(clips[0].features[0])
            stored = self.subtitles.stored_alignment(video_id, num_frames)
            # Records have subtitles in order of their starts.
            subtitles = clips[0].subtitles
            order = sorted(range(len(subtitles)), key=lambda index: subtitles[index].start)
            in_order = [subtitles[index] for index in order]
            aligned = align(in_order, num_frames, self.seconds_per_feature)
            differs = not np.array_equal(stored, np.array([*order, -1])[aligned])
            report.add("clips whose frames are given to other subtitles", video_id, int(differs))
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
    as_captions: bool,
    added: tuple[str, Sequence[Annotation]],
    report: Report,
) -> tuple[OriginalSource, str]:
    """Makes a source of databases of features, subtitles and queries.

    Args:
      video_db: folder of the features.
      subtitles_db: folder of the subtitles, None if there are none.
      queries_dbs: pairs of a split, which may be '', and the folder of its queries.
      tokenizer: the tokenizer that made the databases, which cannot be read from them.
      splits, shares: see `data.sources.raw.open_source`.
      widths: widths of the parts of a stored feature vector; () for one part.
      seconds_per_feature: None for the number in the subtitles' database or, without subtitles, to
        derive it from durations.
      as_captions: whether queries are captions of their clips; see `read_queries`.
      added: type of what files add to the queries, '' for nothing, and these annotations.
      report: counts what is left out, cut or changed.

    Returns:
      The source, and the name of the tokenizer in the subtitles' database, '' without subtitles.

    Raises:
      InputError: a database cannot be used, or the arguments do not fit together.
    """
    features = VideoDatabase(video_db, widths)
    name = ""
    subtitles: SubtitleReader = NoSubtitles()
    if subtitles_db is not None:
        subtitles = database = SubtitleDatabase(subtitles_db).with_ids(features.ids())
        name = database.tokenizer_name
        seconds_per_feature = _check_seconds(seconds_per_feature, database, subtitles_db)
        _check_tokenizer(tokenizer, database, subtitles_db, report)
    query_type, annotations = _read_all_queries(queries_dbs, report, as_captions)
    if added[1]:
        query_type = same_type(query_type, added[0], added[1][0].where)
    source = open_source(
        features,
        subtitles,
        [*annotations, *added[1]],
        query_type,
        splits=splits,
        shares=shares,
        seconds_per_feature=seconds_per_feature,
        clip_seconds=0.0,
        report=report,
        source_class=OriginalSource,
    )
    return source, name


def _check_seconds(given: float | None, subtitles: SubtitleDatabase, folder: Path) -> float:
    """Returns the number that subtitles were made for; raises InputError if another is given."""
    stated = subtitles.seconds_per_feature
    if given not in (None, stated):
        raise InputError(
            f"seconds_per_feature={given:g} is not the {stated:g} that {folder} was made for: "
            "correct it, or leave it out"
        )
    return stated


def _read_all_queries(
    folders: Sequence[tuple[str, Path]], report: Report, as_captions: bool
) -> tuple[str, list[Annotation]]:
    """Returns the type of all queries, '' for none, and the queries, each with its split."""
    query_type = ""
    annotations: list[Annotation] = []
    for split, folder in several(folders, "queries_dbs", "pairs of a split and a path"):
        folder_type, stored = read_queries(folder, report, as_captions)
        query_type = same_type(query_type, folder_type, folder)
        annotations += [
            Annotation(item.query, f"{folder}, query {item.query.query_id}", split, item.duration)
            for item in stored
        ]
    return query_type, annotations


def _check_tokenizer(
    tokenizer: Tokenizer, subtitles: SubtitleDatabase, folder: Path, report: Report
) -> None:
    """Checks that the tokenizer can be the one that made the database's token ids.

    Other token ids of less than half of the subtitles are counted.

    Raises:
      InputError: it has other special tokens, or makes other token ids for most subtitles.
    """
    if tokenizer.special != subtitles.special_ids:
        raise InputError(
            f"{folder} has special tokens {subtitles.special_ids}, the tokenizer has "
            f"{tokenizer.special}: give the tokenizer that made it, {subtitles.tokenizer_name}"
        )
    compared = [
        (clip_id, subtitle)
        for clip_id in itertools.islice(sorted(subtitles.ids()), COMPARED_CLIPS)
        for subtitle in subtitles.read(clip_id, Report())
    ]
    differing = [
        f"{clip_id}: {subtitle.text!r}"
        for clip_id, subtitle in compared
        if tokenizer.encode(normalise_subtitle(subtitle.text)) != list(subtitle.token_ids or ())
    ]
    if 2 * len(differing) > len(compared):
        raise InputError(
            f"{folder} has other tokens than the tokenizer makes for {len(differing)} of "
            f"{len(compared)} subtitles, as of {differing[0]}: give the tokenizer that made it, "
            f"{subtitles.tokenizer_name}"
        )
    for example in differing:
        report.add("subtitles with other tokens than the tokenizer's: kept as stored", example)
