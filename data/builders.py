"""Datasets on disk: TFRecord shards of clips and of queries, in the layout of TFDS.

A dataset `DIR` is a TFDS dataset with two configurations:

  DIR/tokenizer.json           made all token ids
  DIR/queries/VERSION/         shards of queries by split, if there are any
  DIR/clips/VERSION/           shards of clips by split; metadata.json is `DatasetMetadata`
  DIR/building/                finished shards of a dataset that is not finished (see data.shards)

`clips` is written last and moved into place when it is complete. Records lie in the order of a hash
of their videos' ids, so a dataset is the same, byte for byte, in whatever order its source comes,
and but for where shards end, whatever their number; which worker made a shard changes nothing.
"""

import collections
import contextlib
import dataclasses
import fcntl
import io
import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder, naming, splits

from data import records, tfrecord
from data.assembly import feature_widths
from data.errors import InputError
from data.plan import TOKENIZER, Building, clip_tasks, query_tasks
from data.report import Report
from data.schema import (
    SCHEMA_VERSION,
    SPLITS,
    DatasetMetadata,
    RawClip,
    building_dir,
    records_dir,
    tokenizer_path,
)
from data.shards import Result, Task, write_shards
from data.source import Source
from data.tokenizer import Tokenizer


class RecordBuilder(dataset_builder.FileReaderBuilder, skip_registration=True):
    """Writes one kind of records of one dataset, by a Beam pipeline.

    It is made from what it is to write and hence in no registry; what it wrote is read by
    `data.reader` or `tfds.builder_from_directory`.
    """

    VERSION = tfds.core.Version(SCHEMA_VERSION)
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS wants a list)
        tfds.core.BuilderConfig(name="clips", description="Frame features and subtitles."),
        tfds.core.BuilderConfig(name="queries", description="Queries about the clips."),
    ]
    # Of downloads. TFDS would look for a list of them beside this file.
    url_infos = {}  # noqa: RUF012

    def __init__(
        self,
        dataset_dir: Path,
        kind: str,
        features: tfds.features.FeaturesDict,
        tasks: Mapping[str, Sequence[Task]],
        building: Building,
        describe: Callable[[dict[str, int], Sequence[Result]], dict],
    ):
        """Prepares to write.

        Args:
          dataset_dir: the dataset's folder.
          kind: 'clips' or 'queries'.
          features: of a record.
          tasks: by split, one for each shard.
          building: workers, or other options of Beam.
          describe: the metadata, from the number of records by split and all results.
        """
        self.name = dataset_dir.name
        self._dataset_dir, self._kind, self._features = dataset_dir, kind, features
        self._tasks, self._building, self._describe = tasks, building, describe
        super().__init__(data_dir=dataset_dir.parent, config=kind)

    def write(self) -> dict[str, int]:
        """Makes the shards that are not made yet, and all of it a TFDS dataset.

        Returns:
          The number of records by split.
        """
        # TFDS makes a folder for downloads and prints that it downloads, neither of which is so.
        with tempfile.TemporaryDirectory() as unused, contextlib.redirect_stdout(io.StringIO()):
            self.download_and_prepare(
                download_dir=unused, file_format=tfds.core.FileFormat.TFRECORD
            )
        for split in self.info.splits.values():
            for path in split.filepaths:
                tfrecord.offsets(Path(path))
        return {name: split.num_examples for name, split in self.info.splits.items()}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, features=self._features, metadata=tfds.core.MetadataDict()
        )

    def _download_and_prepare(self, dl_manager, download_config) -> None:
        del dl_manager, download_config  # Everything is here already.
        folder = building_dir(self._dataset_dir)
        results = _write_shards(folder, self._kind, self._tasks, self._building)
        result_of = dict(zip(itertools.chain(*self._tasks.values()), results, strict=True))
        infos = []
        for split, of_split in self._tasks.items():
            template = self._get_filename_template(split_name=split)
            for index, task in enumerate(of_split):
                path = template.sharded_filepath(shard_index=index, num_shards=len(of_split))
                _link(folder / task.name, Path(path))
            infos.append(
                splits.SplitInfo(
                    name=split,
                    shard_lengths=[result_of[task].records for task in of_split],
                    num_bytes=sum(result_of[task].size for task in of_split),
                    filename_template=template,
                )
            )
        self.info.set_splits(splits.SplitDict(infos))
        self.info.metadata.update(
            self._describe({info.name: info.num_examples for info in infos}, results)
        )


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where a file has only one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def build_dataset(
    out: str | os.PathLike,
    source: Source,
    tokenizer: Tokenizer,
    building: Building,
    tokenizer_name: str = "",
) -> tuple[DatasetMetadata, Report]:
    """Writes the dataset `out`, or what is missing of it if it was broken off.

    Args:
      out: its folder; the last component is the dataset's name.
      source: of clips and queries; it has to have videos, and queries only in splits with videos.
        The first video's feature widths are the dataset's.
      tokenizer: makes the token ids; copied into the dataset.
      building: how.
      tokenizer_name: what the source calls the tokenizer.

    Returns:
      The metadata, and what was left out with examples.

    Raises:
      InputError: a clip that cannot become a record, an id that comes twice, or a dataset that must
        not be replaced.
    """
    out = Path(out).resolve()
    check_target(out, building.overwrite)
    if not source.seconds_per_feature > 0:
        raise InputError(f"seconds_per_feature is {source.seconds_per_feature}: it has to be > 0")
    _check_once("video", source.videos.values())
    _check_once("query", ([q.query_id for q in of] for of in source.queries.values()))
    first_clips = _first_clips(source, building.on_bad_video)
    widths = feature_widths(first_clips[0])
    with _building(out) as folder:
        tokenizer.save(folder / TOKENIZER)
        queries = {s: query_tasks(folder, s, source) for s in SPLITS if source.queries.get(s)}
        clips = {
            split: clip_tasks(folder, split, source, first_clips, building)
            for split in SPLITS
            if source.videos.get(split)
        }
        if building.overwrite:
            # What is there stays until the new dataset can take its place.
            for kind, tasks in (("queries", queries), ("clips", clips)):
                _write_shards(folder, kind, tasks, building)
        _make_room(out)
        shutil.copyfile(folder / TOKENIZER, tokenizer_path(out))
        query_counts = {}
        if queries:
            query_counts = RecordBuilder(
                out, "queries", records.query_features(), queries, building, lambda *_: {}
            ).write()
        left_out = Report(source.report.counts, source.report.examples)
        known = _metadata(out, source, tokenizer, tokenizer_name, widths)

        def describe(clip_counts: dict[str, int], results: Sequence[Result]) -> dict:
            left_out.merge(Report(**result.left_out) for result in results)
            totals = collections.Counter()
            for result in results:
                totals.update(result.totals)
            return dataclasses.replace(
                known,
                clips=clip_counts,
                queries=query_counts,
                totals=dict(totals),
                left_out=dict(left_out.counts),
            ).to_json()

        features = records.clip_features(sum(widths))
        RecordBuilder(out, "clips", features, clips, building, describe).write()
        shutil.rmtree(folder)
    return DatasetMetadata.load(out), left_out


def _metadata(
    out: Path, source: Source, tokenizer: Tokenizer, tokenizer_name: str, widths: tuple[int, ...]
) -> DatasetMetadata:
    """What is known of the dataset before its clips are read."""
    return DatasetMetadata(
        name=out.name,
        schema_version=SCHEMA_VERSION,
        feature_widths=widths,
        seconds_per_feature=source.seconds_per_feature,
        tokenizer=tokenizer.identity,
        tokenizer_name=tokenizer_name,
        vocab_size=tokenizer.vocab_size,
        special_ids=tokenizer.special,
        word_ids=tokenizer.word_ids,
        query_type=source.query_type if any(source.queries.values()) else "",
        clips={},
        queries={},
        totals={},
        left_out={},
    )


def _write_shards(
    folder: Path, kind: str, tasks: Mapping[str, Sequence[Task]], building: Building
) -> list[Result]:
    """What became of the tasks of all splits, done now or before; InputError for an empty split."""
    results = write_shards(
        folder,
        [task for of_split in tasks.values() for task in of_split],
        "videos" if kind == "clips" else "queries",
        building.workers,
        building.beam_options,
    )
    counts = iter(result.records for result in results)
    for split, of_split in tasks.items():
        if not sum(next(counts) for _ in of_split):
            raise InputError(
                f"no {kind} of split {split} can be used: correct them, or leave the split out"
            )
    return results


def _first_clips(source: Source, on_bad_video: str) -> list[RawClip]:
    """The clips of the first video that can be used."""
    for video_id in itertools.chain(*source.videos.values()):
        try:
            return source.clips(video_id, Report())
        except InputError:
            if on_bad_video == "error":
                raise
    raise InputError("there are no videos, or none that can be used, to build a dataset of")


def _check_once(what: str, of_splits) -> None:
    seen: set[str] = set()
    for ids in of_splits:
        for identifier in ids:
            if identifier in seen:
                raise InputError(f"{what} {identifier} comes twice: leave one out or rename it")
            seen.add(identifier)


def check_target(dataset_dir: str | os.PathLike, overwrite: bool) -> None:
    """InputError if no dataset can, or may, be built in this folder."""
    dataset_dir = Path(dataset_dir).resolve()
    if not naming.is_valid_dataset_name(dataset_dir.name):
        raise InputError(
            f"{dataset_dir.name!r} cannot be a dataset's name: end --out in letters, digits and "
            "underscores, a letter first"
        )
    if records_dir(dataset_dir, "clips").exists() and not overwrite:
        raise InputError(
            f"dataset {dataset_dir} exists: name another --out, or replace it with --overwrite"
        )


@contextlib.contextmanager
def _building(dataset_dir: Path) -> Iterator[Path]:
    """The folder of finished shards, for one program at a time."""
    folder = building_dir(dataset_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{dataset_dir} is being built by another program: wait for it, or name another "
                "--out"
            ) from error
        done = len(list(folder.glob("*.json")))
        if done:
            logging.warning(
                "Going on with a build that was broken off: %d shards are done, and kept unless "
                "what they are made from has changed.",
                done,
            )
        yield folder


def _make_room(dataset_dir: Path) -> None:
    """Removes an earlier dataset, or what a broken-off building left of one, and nothing else."""
    for kind in ("clips", "queries"):
        finished = records_dir(dataset_dir, kind)
        for folder in [finished, *finished.parent.glob(f"incomplete.*_{SCHEMA_VERSION}")]:
            if folder.exists():
                shutil.rmtree(folder)
