"""Datasets on disk: TFRecord shards of clips and of queries, written by TFDS.

A dataset `DIR` is a TFDS dataset with two configurations:

  DIR/tokenizer.json           made all token ids
  DIR/queries/VERSION/         shards of queries by split, if there are any
  DIR/clips/VERSION/           shards of clips by split; metadata.json is `DatasetMetadata`

`clips` is written last and moved into place when it is complete. Records lie in the order of a hash
of their ids, so a dataset is the same, byte for byte, in whatever order its source comes.
"""

import collections
import contextlib
import io
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core import naming, writer
from tensorflow_datasets.proto import tf_example_pb2

from data import records, tfrecord
from data.assembly import feature_widths, make_clip, make_query
from data.errors import InputError
from data.schema import (
    SCHEMA_VERSION,
    DatasetMetadata,
    RawClip,
    RawQuery,
    records_dir,
    tokenizer_path,
)
from data.tokenizer import Tokenizer

KeyedValues = tuple[str, dict]


class RecordBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes one kind of records of one dataset.

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
        source: Mapping[str, Iterable[KeyedValues]],
        describe: Callable[[dict[str, int]], dict] = dict,
    ):
        """Prepares to write `source`.

        Args:
          dataset_dir: the dataset's folder.
          kind: 'clips' or 'queries'.
          features: of a record.
          source: by split, each record's id and the values of its features.
          describe: the metadata, from the number of records by split.
        """
        self.name = dataset_dir.name
        self._features, self._source, self._describe = features, source, describe
        super().__init__(data_dir=dataset_dir.parent, config=kind)

    def write(self, num_shards: int | None) -> dict[str, int]:
        """Writes shards (per split `num_shards`, or what suits their size) and their indices."""
        tfds.disable_progress_bar()
        # TFDS makes a folder for downloads and prints that it downloads, neither of which is so.
        with tempfile.TemporaryDirectory() as unused, contextlib.redirect_stdout(io.StringIO()):
            self.download_and_prepare(
                download_dir=unused,
                download_config=tfds.download.DownloadConfig(num_shards=num_shards),
                file_format=tfds.core.FileFormat.TFRECORD,
            )
        for split in self.info.splits.values():
            for path in split.filepaths:
                tfrecord.offsets(Path(path))
        return {name: split.num_examples for name, split in self.info.splits.items()}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, features=self._features, metadata=tfds.core.MetadataDict()
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator[KeyedValues]]:
        del dl_manager  # Everything is here already.
        counts = {}
        return {
            split: self._generate_examples(split, items, counts)
            for split, items in self._source.items()
        }

    def _generate_examples(
        self, split: str, items: Iterable[KeyedValues], counts: dict[str, int]
    ) -> Iterator[KeyedValues]:
        counts[split] = 0
        for item in items:
            yield item
            counts[split] += 1
        # TFDS saves the metadata after the last split, when the counts are complete.
        self.info.metadata.update(self._describe(counts))

    def _example_writer(self) -> writer.ExampleWriter:
        return _DeterministicWriter(self.info.file_format)


class _DeterministicWriter(writer.ExampleWriter):
    """TFDS leaves the order of an Example's fields to chance; here it is that of their names."""

    def write(self, path, examples):
        ordered = (
            (key, tf_example_pb2.Example.FromString(data).SerializeToString(deterministic=True))
            for key, data in examples
        )
        return super().write(path, ordered)


def build_dataset(
    out: str | os.PathLike,
    clips: Mapping[str, Iterable[RawClip]],
    queries: Mapping[str, Iterable[RawQuery]],
    *,
    tokenizer: Tokenizer,
    seconds_per_feature: float,
    left_out: Mapping[str, int],
    tokenizer_name: str = "",
    query_type: str = "",
    overwrite: bool = False,
    num_shards: int | None = None,
) -> DatasetMetadata:
    """Writes the dataset `out`.

    Args:
      out: its folder; the last component is the dataset's name.
      clips: by split, at least one in each. The first clip's feature widths are the dataset's.
      queries: by split, at least one in each.
      tokenizer: makes the token ids; copied into the dataset.
      seconds_per_feature: seconds between two frames.
      left_out: what the importer skipped or cut; read when all clips are through.
      overwrite: whether a finished dataset may be replaced.
      num_shards: per split; by default as many as TFDS finds right for their size.

    Raises:
      InputError: a clip that cannot become a record, an id that comes twice, or a dataset that must
        not be replaced.
    """
    out = Path(out).resolve()
    check_target(out, overwrite)
    if not seconds_per_feature > 0:
        raise InputError(f"seconds_per_feature is {seconds_per_feature}: it has to be above 0")
    _make_room(out)
    tokenizer.save(tokenizer_path(out))
    query_counts = {}
    if queries:
        source = _query_values(queries, query_type, tokenizer)
        query_counts = RecordBuilder(out, "queries", records.query_features(), source).write(
            num_shards
        )

    first_split = next(iter(clips))
    first_clip, all_of_first_split = _peek(clips[first_split])
    clips = {**clips, first_split: all_of_first_split}
    widths = feature_widths(first_clip)
    totals = collections.Counter()

    def describe(clip_counts: dict[str, int]) -> dict:
        return DatasetMetadata(
            name=out.name,
            schema_version=SCHEMA_VERSION,
            feature_widths=widths,
            seconds_per_feature=seconds_per_feature,
            tokenizer=tokenizer.identity,
            tokenizer_name=tokenizer_name,
            vocab_size=tokenizer.vocab_size,
            special_ids=tokenizer.special,
            word_ids=tokenizer.word_ids,
            query_type=query_type,
            clips=clip_counts,
            queries=query_counts,
            totals=dict(totals),
            left_out={what: count for what, count in left_out.items() if count},
        ).to_json()

    source = _clip_values(clips, widths, tokenizer, seconds_per_feature, totals)
    features = records.clip_features(sum(widths))
    RecordBuilder(out, "clips", features, source, describe).write(num_shards)
    return DatasetMetadata.load(out)


def _clip_values(
    clips: Mapping[str, Iterable[RawClip]],
    widths: tuple[int, ...],
    tokenizer: Tokenizer,
    seconds_per_feature: float,
    totals: collections.Counter,
) -> dict[str, Iterator[KeyedValues]]:
    """Source of the builder; adds what goes through to `totals`."""
    seen = set()

    def values(items: Iterable[RawClip]) -> Iterator[KeyedValues]:
        for raw in items:
            _check_new(raw.clip_id, seen, "clip")
            clip = make_clip(raw, widths, tokenizer, seconds_per_feature)
            totals["frames"] += len(clip.frame_features)
            totals["frames under a subtitle"] += int((clip.frame_subtitle >= 0).sum())
            totals["subtitles"] += len(clip.subtitle_texts)
            totals["subtitle tokens"] += len(clip.token_ids)
            totals["clips without subtitles"] += not clip.subtitle_texts
            yield clip.clip_id, records.encode_clip(clip)

    return {split: values(items) for split, items in clips.items()}


def _query_values(
    queries: Mapping[str, Iterable[RawQuery]], query_type: str, tokenizer: Tokenizer
) -> dict[str, Iterator[KeyedValues]]:
    """Source of the builder."""
    seen = set()

    def values(items: Iterable[RawQuery]) -> Iterator[KeyedValues]:
        for raw in items:
            _check_new(raw.query_id, seen, "query")
            query = make_query(raw, query_type, tokenizer)
            yield query.query_id, records.encode_query(query)

    return {split: values(items) for split, items in queries.items()}


def _check_new(identifier: str, seen: set[str], what: str) -> None:
    if identifier in seen:
        raise InputError(f"{what} {identifier} comes twice: leave one out or rename it")
    seen.add(identifier)


def _peek(items: Iterable[RawClip]) -> tuple[RawClip, Iterator[RawClip]]:
    iterator = iter(items)
    first = next(iterator)
    return first, itertools.chain([first], iterator)


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


def _make_room(dataset_dir: Path) -> None:
    """Removes what an earlier or broken-off building left, and nothing else."""
    for kind in ("clips", "queries"):
        finished = records_dir(dataset_dir, kind)
        for folder in [finished, *finished.parent.glob(f"incomplete.*_{SCHEMA_VERSION}")]:
            if folder.exists():
                shutil.rmtree(folder)
    dataset_dir.mkdir(parents=True, exist_ok=True)
