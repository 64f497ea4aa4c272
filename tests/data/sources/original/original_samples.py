"""Databases as the original writes them, with few clips."""

import io
import json
import os
import zipfile
from pathlib import Path

import lmdb
import lz4.frame
import msgpack
import numpy as np
import pytest

from data.errors import InputError

needs_shared = pytest.mark.shared


SHARED = Path(os.environ.get("HERO_SHARED", ""))


LAYOUT = SHARED / "official_layout"


META = {"task": "tv", "tokenizer": "roberta-base", "frame_length": 1.5}


META |= {"CLS": 0, "BOS": 0, "PAD": 1, "SEP": 2, "EOS": 2, "UNK": 3, "MASK": 50264}


def write_lmdb(folder: Path, values: dict[str | bytes, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=2**26) as environment, environment.begin(write=True) as t:
        for key, value in values.items():
            t.put(key.encode() if isinstance(key, str) else key, value)


def text_value(value) -> bytes:
    return lz4.frame.compress(msgpack.dumps(value, use_bin_type=True))


def write_texts(folder: Path, values: dict, meta: dict | None = META) -> Path:
    """A database of subtitles or queries."""
    write_lmdb(folder, {key: text_value(value) for key, value in values.items()})
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def msgpack_value(array: np.ndarray, encode=str.encode, **changes) -> bytes:
    """An array as msgpack_numpy writes it; other versions have text for the names."""
    fields = {"nd": True, "type": array.dtype.str, "kind": b"", "shape": list(array.shape)}
    fields |= {"data": array.tobytes()} | changes
    content = {"features": {encode(name): field for name, field in fields.items()}}
    return msgpack.dumps(content, use_bin_type=True)


def npz_value(**arrays: np.ndarray) -> bytes:
    """A compressed npz; in NumPy of that time the option `allow_pickle` came to be an array."""
    with io.BytesIO() as writer:
        with zipfile.ZipFile(writer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in {**arrays, "allow_pickle": np.array(True)}.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array)
        return writer.getvalue()


def features(num_frames: int, width: int = 5, dtype=np.float32) -> np.ndarray:
    return np.arange(num_frames * width, dtype=dtype).reshape(num_frames, width)


def video_database(folder: Path, **changes: bytes) -> Path:
    """Clips a (msgpack) and b (npz) of 4 and 6 frames, 5 wide, and a list of keys."""
    values = {"a": msgpack_value(features(4)), "b": npz_value(features=features(6))}
    values["__keys__"] = json.dumps(["a", "b"]).encode()
    write_lmdb(folder / "resnet_slowfast_1.5", values | changes)
    return folder / "resnet_slowfast_1.5"


def subtitle_value(clip_id: str, *subtitles: tuple, unique_sub2frames=()) -> dict:
    """Records of subtitles (text, start, end, token ids)."""
    return {
        "vid_name": clip_id,
        "sub": [{"text": t, "start": start, "end": end} for t, start, end, _ in subtitles],
        "input_ids": [ids for *_, ids in subtitles],
        "unique_sub2frames": list(unique_sub2frames),
    }


SUBTITLES = {
    "a": subtitle_value(
        "a",
        ("YES &amp; no", 0.5, 3.1, [4, 5]),
        ("ends first", 3.5, 3.2, [6]),
        ("later", 4, 6.5, []),
        unique_sub2frames=[[0, [0, 1]], [1, [2]], [2, [3, 4, 5]]],
    ),
    # As the original has a clip in which nobody speaks: segments of five frames.
    "silent": {
        "vid_name": "silent",
        "sub": [],
        "input_ids": [[], []],
        "unique_sub2frames": [[0, [0, 1, 2, 3, 4]], [1, [5, 6]]],
    },
}


def clips_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def refusal(action) -> str:
    """Returns the message of the InputError that an action raises, '' if it raises none."""
    try:
        action()
    except InputError as error:
        return str(error)
    return ""
