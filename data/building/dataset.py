"""Datasets on disk: TFRecord shards of clips and of queries, in the layout of TFDS.

A dataset `DIR` is a TFDS dataset with two configurations:

  DIR/tokenizer.json           made all token ids
  DIR/queries/VERSION/         shards of queries by split, if there are any
  DIR/clips/VERSION/           shards of clips by split; metadata.json is `DatasetMetadata`
  DIR/building/                finished shards of an unfinished dataset (see data.building.shards)

`clips` is written last and moved into place when it is complete. Records lie in the order of a hash
of their videos' ids, so a dataset is the same, byte for byte, in whatever order its source comes,
and but for where shards end, whatever their number; which worker made a shard changes nothing.
"""

import collections
import contextlib
import io
import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core import dataset_builder, naming, splits

from data.building.beam import write_shards
from data.building.plan import TOKENIZER, Building, clip_tasks, query_tasks, sample
from data.building.shards import Result, ShardTask
from data.errors import InputError
from data.files import locked, writing_to
from data.records import tfds_layout, tfrecord
from data.report import Report
from data.schema import (
    SCHEMA_VERSION,
    SPLITS,
    DatasetMetadata,
    building_dir,
    records_dir,
    tokenizer_path,
)
from data.sources.base import Source
from data.tokenizer import Tokenizer

# Of each split, its shards.
Shards = Mapping[str, Sequence[tuple[ShardTask, Result]]]


class RecordBuilder(dataset_builder.FileReaderBuilder, skip_registration=True):
    """Makes a TFDS dataset of the shards of one kind that a Beam pipeline has written.

    It is made from what it is to write and hence in no registry; what it wrote is read by
    `data.records.reader` or `tfds.builder_from_directory`.
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
        shards: Shards,
        metadata: dict,
    ):
        """Prepares to put finished shards into place.

        Args:
          dataset_dir: the dataset's folder.
          kind: 'clips' or 'queries'.
          features: of a record.
          shards: by split, each with what became of it.
          metadata: JSON values.
        """
        self.name = dataset_dir.name
        self._dataset_dir, self._features = dataset_dir, features
        self._shards, self._metadata = shards, metadata
        super().__init__(data_dir=dataset_dir.parent, config=kind)

    def write(self) -> dict[str, int]:
        """Makes a TFDS dataset of the shards; returns the number of records by split."""
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
            builder=self,
            features=self._features,
            metadata=tfds.core.MetadataDict(self._metadata),
        )

    def _download_and_prepare(self, dl_manager, download_config) -> None:
        del dl_manager, download_config  # Everything is here already.
        folder = building_dir(self._dataset_dir)
        infos = []
        for split, shards in self._shards.items():
            template = self._get_filename_template(split_name=split)
            for index, (task, _) in enumerate(shards):
                path = template.sharded_filepath(shard_index=index, num_shards=len(shards))
                _link(folder / task.name, Path(path))
            infos.append(
                splits.SplitInfo(
                    name=split,
                    shard_lengths=[result.records for _, result in shards],
                    num_bytes=sum(result.size for _, result in shards),
                    filename_template=template,
                )
            )
        self.info.set_splits(splits.SplitDict(infos))


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
    if not 0 < source.seconds_per_feature < math.inf:
        raise InputError(f"seconds_per_feature is {source.seconds_per_feature}: correct it")
    _check_once("video", source.videos.values())
    _check_once("query", ([q.query_id for q in of] for of in source.queries.values()))
    with _building(out) as folder:
        # Another program may have finished it meanwhile.
        check_target(out, building.overwrite)
        tokenizer.save(folder / TOKENIZER)
        widths, clips = _make_clips(folder, source, tokenizer.identity, building)
        left_out = Report(source.report.counts, source.report.examples)
        left_out.merge(Report(**result.left_out) for result in _results(clips))
        queries = _make_queries(folder, source, clips, tokenizer.identity, building, left_out)
        metadata = DatasetMetadata(
            name=out.name,
            schema_version=SCHEMA_VERSION,
            feature_widths=widths,
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
        # What was there stays until now.
        _make_room(out)
        shutil.copyfile(folder / TOKENIZER, tokenizer_path(out))
        if queries:
            RecordBuilder(out, "queries", tfds_layout.query_features(), queries, {}).write()
        features = tfds_layout.clip_features(metadata.feature_width)
        RecordBuilder(out, "clips", features, clips, metadata.to_json()).write()
        shutil.rmtree(folder)
    return DatasetMetadata.load(out), left_out


def _make_clips(
    folder: Path, source: Source, tokenizer: str, building: Building
) -> tuple[tuple[int, ...], Shards]:
    """The feature widths, and shards of clips; InputError for a split without any."""
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


def _make_queries(
    folder: Path,
    source: Source,
    clips: Shards,
    tokenizer: str,
    building: Building,
    left_out: Report,
) -> Shards:
    """Shards of the queries, but for those about videos that were skipped."""
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
    """Makes what is not made yet, and removes what nobody wants."""
    wanted = list(itertools.chain(*tasks.values()))
    names = {task.name for task in wanted}
    for path in [*folder.glob(f"{kind}-*"), *folder.glob(".*")]:
        if path.name.removesuffix(".json") not in names:
            path.unlink()
    label = "videos" if kind == "clips" else "queries"
    results = write_shards(folder, wanted, label, building.workers, building.beam_options)
    made = iter(results)
    return {split: [(task, next(made)) for task in of_split] for split, of_split in tasks.items()}


def _results(shards: Shards) -> Iterator[Result]:
    return (result for of_split in shards.values() for _, result in of_split)


def _counts(shards: Shards) -> dict[str, int]:
    """Records by split."""
    return {split: sum(result.records for _, result in of) for split, of in shards.items()}


def _totals(shards: Shards) -> dict[str, int]:
    """What the records of all splits add up to."""
    totals = collections.Counter()
    for result in _results(shards):
        totals.update(result.totals)
    return dict(totals)


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
    known = building_dir(dataset_dir).exists() or any(dataset_dir.glob("clips/*/*_info.json"))
    if dataset_dir.is_dir() and any(dataset_dir.iterdir()) and not known:
        raise InputError(
            f"{dataset_dir} holds other things than a dataset: name a new or an empty folder"
        )
    if records_dir(dataset_dir, "clips").exists() and not overwrite:
        raise InputError(
            f"dataset {dataset_dir} exists: name another --out, or replace it with --overwrite"
        )


@contextlib.contextmanager
def _building(dataset_dir: Path) -> Iterator[Path]:
    """The folder of finished shards, for one program at a time."""
    folder = building_dir(dataset_dir)
    refusal = f"{dataset_dir} is being built by another program: wait for it, or name another --out"
    with contextlib.ExitStack() as held:
        with writing_to(folder, "put that right or name another --out"):
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(folder / "lock", refusal))
        yield folder


def _make_room(dataset_dir: Path) -> None:
    """Removes an earlier dataset, or what a broken-off building left of one, and nothing else."""
    for kind in ("clips", "queries"):
        finished = records_dir(dataset_dir, kind)
        for folder in [finished, *finished.parent.glob(f"incomplete.*_{SCHEMA_VERSION}")]:
            if folder.exists():
                shutil.rmtree(folder)
