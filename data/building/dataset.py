"""Builds datasets: TFRecord shards of clips and of queries, in the layout of TFDS.

A dataset `DIR` is two TFDS datasets in one folder:

  DIR/tokenizer.json           made all token ids
  DIR/queries/VERSION/         shards of queries by split, if there are any
  DIR/clips/VERSION/           shards of clips by split; metadata.json is `DatasetMetadata`
  DIR/building/                finished shards of an unfinished dataset (see data.building.shards)

`clips` is moved into place last, when everything else is there. Records lie in the order of a hash
of their videos' ids, so the bytes of a dataset depend neither on the order of its source nor on the
workers; the number of shards decides only where one ends and the next begins.
"""

import collections
import contextlib
import itertools
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from data.arguments import user_path
from data.building.plan import TOKENIZER, Building, clip_tasks, query_tasks, sample
from data.building.shards import ShardResult, ShardTask
from data.building.workers import write_shards
from data.errors import InputError
from data.files import locked, passed_over, writing_to
from data.records import tfds_layout, tfrecord
from data.report import EXAMPLES, Report
from data.schema import (
    SCHEMA_VERSION,
    SPLITS,
    DatasetMetadata,
    FeatureIdentity,
    building_dir,
    records_dir,
    tokenizer_path,
)
from data.sources.base import Source
from data.tokenizer import Tokenizer

# Names that TFDS can read from the names of shards.
_DATASET_NAME = re.compile(r"[a-zA-Z]\w*")
# The shards of each split.
Shards = Mapping[str, Sequence[tuple[ShardTask, ShardResult]]]


def build_dataset(
    out: str | os.PathLike[str],
    source: Source,
    tokenizer: Tokenizer,
    building: Building,
    tokenizer_name: str = "",
    needs_subtitles: bool = False,
) -> tuple[DatasetMetadata, Report]:
    """Builds a dataset, or continues an interrupted build of it.

    Args:
      out: folder of the dataset; its last component is the dataset's name.
      source: source of clips and queries; it has videos, and queries only in splits with videos.
      tokenizer: makes the token ids; copied into the dataset.
      building: settings of the build.
      tokenizer_name: name of the tokenizer in the source.
      needs_subtitles: whether a dataset without any subtitle is a mistake.

    Returns:
      The metadata, and a report of what was left out.

    Raises:
      InputError: a clip cannot become a record, an id occurs twice, no clip has subtitles that are
        needed, or the folder holds something that may not be replaced.
      KeyboardInterrupt: the user interrupts the build; finished shards are kept.
    """
    out = user_path(out).resolve()
    check_target(out, building.overwrite)
    _check_source(source)
    with _building_folder(out) as folder:
        # Another program may have finished the dataset before this one held the lock.
        check_target(out, building.overwrite)
        tokenizer.save(folder / TOKENIZER)
        widths, clips = _make_clips(folder, source, tokenizer.identity, building)
        left_out = _left_out(source, clips)
        if needs_subtitles:
            _check_subtitles(clips, left_out)
        queries = _make_queries(folder, source, clips, tokenizer.identity, building, left_out)
        metadata = DatasetMetadata(
            name=out.name,
            schema_version=SCHEMA_VERSION,
            feature_widths=widths,
            features=_networks(source, widths),
            seconds_per_feature=source.seconds_per_feature,
            tokenizer=tokenizer.identity,
            tokenizer_name=tokenizer_name,
            vocab_size=tokenizer.vocab_size,
            special_ids=tokenizer.special,
            word_ids=tokenizer.word_ids,
            query_type=source.query_type if queries else "",
            clips=_counts(clips),
            queries=_counts(queries),
            totals=_totals(clips),
            left_out=dict(left_out.counts),
        )
        _put_into_place(out, metadata, clips, queries)
        shutil.rmtree(folder)
    return DatasetMetadata.load(out), left_out


def _make_clips(
    folder: Path, source: Source, tokenizer: str, building: Building
) -> tuple[tuple[int, ...], Shards]:
    """Returns the feature widths and the shards of clips.

    Raises:
      InputError: no video of a split can be used.
    """
    widths, video_bytes = sample(source, building)
    tasks = {
        split: clip_tasks(folder, split, source, tokenizer, widths, video_bytes, building)
        for split in SPLITS
        if source.videos.get(split)
    }
    clips = _make_shards(folder, "clips", tasks, building)
    for split, count in _counts(clips).items():
        if not count:
            first = next(iter(clips[split][0][1].left_out["examples"].values()))[0]
            raise InputError(f"no video of split {split} can be used; the first: {first}")
    return widths, clips


def _networks(source: Source, widths: tuple[int, ...]) -> tuple[FeatureIdentity | None, ...]:
    """Returns the network of each part; raises InputError if a source names more or fewer."""
    if source.networks and len(source.networks) != len(widths):
        raise InputError(
            f"the source names {len(source.networks)} networks for {len(widths)} parts of the "
            "features: correct them"
        )
    return tuple(source.networks) or (None,) * len(widths)


def _left_out(source: Source, clips: Shards) -> Report:
    left_out = Report(**source.report.to_json())
    left_out.merge(Report(**result.left_out) for result in _results(clips))
    return left_out


def _check_subtitles(clips: Shards, left_out: Report) -> None:
    if not _totals(clips).get("subtitles"):
        found = "; ".join(left_out.lines(EXAMPLES)) or "none was left out"
        raise InputError(
            f"no clip has a subtitle, although subtitles are given ({found}): correct them, or "
            "leave them out"
        )


def _make_queries(
    folder: Path,
    source: Source,
    clips: Shards,
    tokenizer: str,
    building: Building,
    left_out: Report,
) -> Shards:
    """Returns the shards of the queries, without those about videos that were skipped."""
    skipped = {video_id for result in _results(clips) for video_id in result.skipped}
    tasks = {}
    for split in SPLITS:
        kept = []
        for query in source.queries.get(split, ()):
            if source.video_of(query.clip_id) in skipped:
                left_out.add(
                    "queries about skipped videos: skipped", f"{query.query_id}: {query.clip_id}"
                )
            else:
                kept.append(query)
        if kept:
            tasks[split] = query_tasks(folder, split, kept, source.query_type, tokenizer)
    return _make_shards(folder, "queries", tasks, building)


def _make_shards(
    folder: Path, kind: str, tasks: Mapping[str, Sequence[ShardTask]], building: Building
) -> Shards:
    """Does the tasks that are not done, after removing files of builds with other tasks."""
    all_tasks = list(itertools.chain(*tasks.values()))
    names = {task.name for task in all_tasks}
    for path in [*folder.glob(f"{kind}-*"), *folder.glob(".*")]:
        if path.name.removesuffix(".json") not in names and not path.is_dir():
            path.unlink()
    label = "videos" if kind == "clips" else "queries"
    results = write_shards(folder, all_tasks, label, building.workers, building.beam_options)
    made = iter(results)
    return {split: [(task, next(made)) for task in of_split] for split, of_split in tasks.items()}


def _results(shards: Shards) -> Iterator[ShardResult]:
    return (result for of_split in shards.values() for _, result in of_split)


def _counts(shards: Shards) -> dict[str, int]:
    """Returns the number of records by split."""
    return {split: sum(result.records for _, result in of) for split, of in shards.items()}


def _totals(shards: Shards) -> dict[str, int]:
    """Returns the totals of the records of all splits."""
    totals: collections.Counter[str] = collections.Counter()
    for result in _results(shards):
        totals.update(result.totals)
    return dict(totals)


def _check_source(source: Source) -> None:
    if not 0 < source.seconds_per_feature < math.inf:
        raise InputError(f"seconds_per_feature is {source.seconds_per_feature}: correct it")
    _check_unique("video", source.videos.values())
    _check_unique("query", ([q.query_id for q in of] for of in source.queries.values()))


def _check_unique(kind: str, ids_by_split: Iterable[Iterable[str]]) -> None:
    seen: set[str] = set()
    for identifier in itertools.chain.from_iterable(ids_by_split):
        if identifier in seen:
            raise InputError(f"{kind} {identifier} occurs twice: leave one out or rename it")
        seen.add(identifier)


def check_target(dataset_dir: str | os.PathLike[str], overwrite: bool) -> None:
    """Checks that a dataset can and may be built in a folder.

    Raises:
      InputError: the folder's name is no name of a dataset, or the folder holds something that may
        not be replaced.
    """
    dataset_dir = user_path(dataset_dir).resolve()
    if not _DATASET_NAME.fullmatch(dataset_dir.name):
        raise InputError(
            f"{dataset_dir.name!r} cannot be a dataset's name: name the folder with letters, "
            "digits and underscores, a letter first"
        )
    known = building_dir(dataset_dir).exists() or any(dataset_dir.glob("clips/*/[!.]*_info.json"))
    if dataset_dir.is_dir() and not known and not _is_vacant(dataset_dir):
        raise InputError(
            f"{dataset_dir} holds other things than a dataset: name a new or an empty folder"
        )
    if records_dir(dataset_dir, "clips").exists() and not overwrite:
        raise InputError(
            f"dataset {dataset_dir} exists: name another folder, or allow to overwrite it"
        )


def _is_vacant(folder: Path) -> bool:
    return all(passed_over(path.name) for path in folder.iterdir())


@contextlib.contextmanager
def _building_folder(dataset_dir: Path) -> Iterator[Path]:
    """Makes the folder of finished shards and holds it for this program alone."""
    folder = building_dir(dataset_dir)
    with contextlib.ExitStack() as held:
        with writing_to(folder, "fix this or name another folder"):
            folder.mkdir(parents=True, exist_ok=True)
            advice = "wait for it or name another folder"
            held.enter_context(locked(folder / "lock", f"{dataset_dir} is being built", advice))
        yield folder


def _put_into_place(out: Path, metadata: DatasetMetadata, clips: Shards, queries: Shards) -> None:
    """Makes datasets of finished shards and moves them to where readers look for them."""
    ready = {}
    if queries:
        ready["queries"] = _assemble(out, "queries", tfds_layout.query_features(), queries, {})
    features = tfds_layout.clip_features(metadata.feature_width)
    ready["clips"] = _assemble(out, "clips", features, clips, metadata.to_json())
    # An earlier dataset stays until now.
    _remove_dataset(out)
    shutil.copyfile(building_dir(out) / TOKENIZER, tokenizer_path(out))
    for kind, folder in ready.items():
        target = records_dir(out, kind)
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)


def _assemble(
    out: Path, kind: str, features: tfds.features.FeaturesDict, shards: Shards, metadata: dict
) -> Path:
    """Makes a TFDS dataset of finished shards, beside them.

    Args:
      out: folder of the dataset.
      kind: 'clips' or 'queries'.
      features: features of a record.
      shards: finished shards by split.
      metadata: JSON values that become metadata.json.

    Returns:
      Its folder.
    """
    folder = building_dir(out) / kind
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    paths = []
    for split, of_split in shards.items():
        for index, (task, _) in enumerate(of_split):
            path = folder / tfrecord.shard_name(out.name, split, index, len(of_split))
            _link(building_dir(out) / task.name, path)
            paths.append(path)
    tfds_layout.write_metadata(
        folder,
        features,
        {split: [result.records for _, result in of] for split, of in shards.items()},
        {split: sum(result.size for _, result in of) for split, of in shards.items()},
        metadata,
    )
    for path in paths:
        # Readers would write the index, but may not have the right to.
        tfrecord.offsets(path)
    return folder


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it on file systems where a file has only one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _remove_dataset(dataset_dir: Path) -> None:
    """Removes the records of an earlier dataset, and what an interrupted build left beside them."""
    for kind in ("clips", "queries"):
        finished = records_dir(dataset_dir, kind)
        # Earlier versions of this program assembled a dataset in such a folder.
        for folder in [finished, *finished.parent.glob(f"incomplete.*_{SCHEMA_VERSION}")]:
            if folder.exists():
                shutil.rmtree(folder)
