"""Records' fields as TFDS describes them, for whoever reads a dataset with TFDS."""

import numpy as np
import tensorflow_datasets as tfds


def clip_features(feature_width: int):
    """`tfds.features.FeaturesDict` of a clip."""
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


def query_features():
    """`tfds.features.FeaturesDict` of a query."""
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


def _array(shape: tuple[int | None, ...], dtype: type):
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
