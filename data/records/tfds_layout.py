"""Descriptions of records for TFDS, which reads a dataset with `tfds.builder_from_directory`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from data.schema import SCHEMA_VERSION


def clip_features(feature_width: int) -> tfds.features.FeaturesDict:
    """Returns the features of a clip's record."""
    return tfds.features.FeaturesDict(
        {
            "clip_id": tfds.features.Text(),
            "frame_features": _array((None, feature_width), np.float16),
            "duration": _array((), np.float64),
            "subtitle_texts": tfds.features.Sequence(tfds.features.Text()),
            "subtitle_starts": _array((None,), np.float32),
            "subtitle_ends": _array((None,), np.float32),
            "token_ids": _array((None,), np.int32),
            "token_counts": _array((None,), np.int32),
            "frame_subtitle": _array((None,), np.int32),
            "story": tfds.features.Text(),
            "frame_images": tfds.features.Sequence(tfds.features.Tensor(shape=(), dtype=np.str_)),
            "video_id": tfds.features.Text(),
            "video_start": _array((), np.float64),
        }
    )


def query_features() -> tfds.features.FeaturesDict:
    """Returns the features of a query's record."""
    return tfds.features.FeaturesDict(
        {
            "query_id": tfds.features.Text(),
            "clip_id": tfds.features.Text(),
            "text": tfds.features.Text(),
            "token_ids": _array((None,), np.int32),
            "moments": _array((None, 2), np.float64),
            "kind": tfds.features.Text(),
            "answers": tfds.features.Sequence(tfds.features.Text()),
            "answer_token_ids": _array((None,), np.int32),
            "answer_token_counts": _array((None,), np.int32),
            "label": _array((), np.int32),
            "group": tfds.features.Text(),
        }
    )


def write_metadata(
    folder: Path,
    features: tfds.features.FeaturesDict,
    shard_lengths: Mapping[str, Sequence[int]],
    num_bytes: Mapping[str, int],
    metadata: dict,
) -> None:
    """Writes the files that make a folder of shards a TFDS dataset.

    Args:
      folder: holds the shards, named as by `tfrecord.shard_name`, and nothing else.
      features: features of a record.
      shard_lengths: number of records of each shard, by split.
      num_bytes: size of each split.
      metadata: JSON values, written to metadata.json.
    """
    template = tfds.core.ShardedFileTemplate(data_dir=folder)
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=list(lengths),
                num_bytes=num_bytes[split],
                filename_template=template,
            )
            for split, lengths in shard_lengths.items()
        ],
        version=SCHEMA_VERSION,
        metadata=tfds.core.MetadataDict(metadata),
        # The check would import TensorFlow and print.
        check_data=False,
    )


def _array(shape: tuple[int | None, ...], dtype: type) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
