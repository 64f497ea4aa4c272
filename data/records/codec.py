"""Conversion of clips and queries to and from `tf.train.Example`, in the layout of TFDS.

Arrays are raw little-endian bytes. Reading them does not need TensorFlow.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from data.errors import InputError
from data.records.example_proto import Example
from data.schema import Clip, Query

if sys.byteorder != "little":
    raise ImportError("records hold little-endian arrays, which this machine cannot view")


def encode_clip(clip: Clip) -> dict[str, Any]:
    """Returns the clip's values for `data.records.tfds_layout.clip_features`."""
    return {
        "clip_id": clip.clip_id,
        "frame_features": clip.frame_features,
        "duration": np.float64(clip.duration),
        "subtitle_texts": list(clip.subtitle_texts),
        "subtitle_starts": clip.subtitle_starts,
        "subtitle_ends": clip.subtitle_ends,
        "token_ids": clip.token_ids,
        "token_counts": clip.token_counts,
        "frame_subtitle": clip.frame_subtitle,
        "story": clip.story,
        "frame_images": list(clip.frame_images),
        "video_id": clip.video_id,
        "video_start": np.float64(clip.video_start),
    }


def encode_query(query: Query) -> dict[str, Any]:
    """Returns the query's values for `data.records.tfds_layout.query_features`."""
    return {
        "query_id": query.query_id,
        "clip_id": query.clip_id,
        "text": query.text,
        "token_ids": query.token_ids,
        "moments": query.moments,
        "kind": query.kind,
        "answers": list(query.answers),
        "answer_token_ids": query.answer_token_ids,
        "answer_token_counts": query.answer_token_counts,
        "label": np.int32(query.label),
        "group": query.group,
    }


def serialise(values: Mapping[str, Any]) -> bytes:
    """Serialises the values of `encode_clip` or `encode_query` to a `tf.train.Example`.

    TFDS would write the same message with its fields in a random order; here they are in the order
    of their names.
    """
    example = Example()
    for name, value in values.items():
        items = value if isinstance(value, list) else [value]
        example.features.feature[name].bytes_list.value.extend(map(_to_bytes, items))
    return example.SerializeToString(deterministic=True)


def _to_bytes(value: str | bytes | np.ndarray | np.generic) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else value.tobytes()


def decode_clip(record: bytes, feature_width: int) -> Clip:
    """Decodes the clip of a serialised Example; its arrays are read-only views of the record.

    Args:
      record: bytes of a `tf.train.Example`.
      feature_width: number of features of a frame.

    Raises:
      InputError: the record does not hold a clip, or its parts do not fit together.
    """
    values = _values(record)
    features = _view(values, "frame_features", np.float16)
    if features.size % feature_width:
        raise InputError(
            f"its {features.size} feature values are no multiple of the dataset's feature width, "
            f"{feature_width}"
        )
    clip = Clip(
        clip_id=_text(values, "clip_id"),
        frame_features=features.reshape(-1, feature_width),
        duration=_scalar(values, "duration", np.float64),
        subtitle_texts=tuple(
            _utf8(text, "subtitle_texts") for text in _list(values, "subtitle_texts")
        ),
        subtitle_starts=_view(values, "subtitle_starts", np.float32),
        subtitle_ends=_view(values, "subtitle_ends", np.float32),
        token_ids=_view(values, "token_ids", np.int32),
        token_counts=_view(values, "token_counts", np.int32),
        frame_subtitle=_view(values, "frame_subtitle", np.int32),
        story=_text(values, "story"),
        frame_images=tuple(_list(values, "frame_images")),
        video_id=_text(values, "video_id"),
        video_start=_scalar(values, "video_start", np.float64),
    )
    subtitles = {
        len(clip.subtitle_texts),
        len(clip.subtitle_starts),
        len(clip.subtitle_ends),
        len(clip.token_counts),
    }
    if len(subtitles) > 1 or clip.token_counts.sum() != len(clip.token_ids):
        raise InputError("its subtitles' texts, times and tokens differ in number")
    if len(clip.frame_features) != len(clip.frame_subtitle):
        raise InputError(
            f"it has features of {len(clip.frame_features)} frames but subtitles of "
            f"{len(clip.frame_subtitle)}"
        )
    if (clip.frame_subtitle >= len(clip.subtitle_texts)).any():
        raise InputError("its frames refer to a subtitle that it does not have")
    return clip


def decode_query(record: bytes) -> Query:
    """Decodes the query of a serialised Example; its arrays are read-only views of the record.

    Raises:
      InputError: the record does not hold a query, or its parts do not fit together.
    """
    values = _values(record)
    moments = _view(values, "moments", np.float64)
    if len(moments) % 2:
        raise InputError(f"its moments are {len(moments)} numbers, not pairs of a start and an end")
    query = Query(
        query_id=_text(values, "query_id"),
        clip_id=_text(values, "clip_id"),
        text=_text(values, "text"),
        token_ids=_view(values, "token_ids", np.int32),
        moments=moments.reshape(-1, 2),
        kind=_text(values, "kind"),
        answers=tuple(_utf8(text, "answers") for text in _list(values, "answers")),
        answer_token_ids=_view(values, "answer_token_ids", np.int32),
        answer_token_counts=_view(values, "answer_token_counts", np.int32),
        label=int(_scalar(values, "label", np.int32)),
        group=_text(values, "group"),
    )
    counts = query.answer_token_counts
    if len(counts) != len(query.answers) or counts.sum() != len(query.answer_token_ids):
        raise InputError("its answers' texts and tokens differ in number")
    return query


def _values(record: bytes) -> Mapping[str, Any]:
    try:
        return Example.FromString(record).features.feature
    except DecodeError as error:
        raise InputError("it is not a tf.train.Example") from error


def _list(values: Mapping[str, Any], name: str) -> Sequence[bytes]:
    # A protobuf map adds an absent key when it is read.
    if name not in values:
        raise InputError(f"it has no field {name}")
    return values[name].bytes_list.value


def _bytes(values: Mapping[str, Any], name: str) -> bytes:
    items = _list(values, name)
    if len(items) != 1:
        raise InputError(f"its field {name} has {len(items)} values instead of one")
    return items[0]


def _text(values: Mapping[str, Any], name: str) -> str:
    return _utf8(_bytes(values, name), name)


def _utf8(text: bytes, name: str) -> str:
    try:
        return str(text, "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"its field {name} is not UTF-8") from error


def _view(values: Mapping[str, Any], name: str, dtype: type) -> np.ndarray:
    data = _bytes(values, name)
    if len(data) % np.dtype(dtype).itemsize:
        raise InputError(f"its field {name} has {len(data)} bytes, not a whole number of values")
    return np.frombuffer(data, dtype)


def _scalar(values: Mapping[str, Any], name: str, dtype: type) -> int | float:
    numbers = _view(values, name, dtype)
    if len(numbers) != 1:
        raise InputError(f"its field {name} has {len(numbers)} numbers instead of one")
    return numbers.item()
