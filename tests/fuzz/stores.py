"""Readers of files that libraries in C and C++ read or wrote, each with valid files."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import jax
import lz4.frame
import msgpack
import numpy as np
import optax
from flax import nnx

from data.errors import InputError
from data.report import Report
from data.sources.features import FeatureParts
from data.sources.original.database import SubtitleDatabase, VideoDatabase
from data.sources.original.queries import read_queries
from hero_jax.training.checkpoint import Checkpoints
from hero_jax.training.state import TrainState
from tests.data.sources.original.original_samples import (
    META,
    features,
    msgpack_value,
    npz_value,
    subtitle_value,
    write_lmdb,
    write_texts,
)
from tests.fuzz.engine import Reader
from tests.paths import TESTDATA

FRAMES = np.arange(24, dtype=np.float32).reshape(6, 4)
SUBTITLES = subtitle_value(
    *("a", ("yes", 0.5, 3.1, [4, 5]), ("later", 4, 6.5, [])),
    unique_sub2frames=[[0, [0, 1]], [1, [2]]],
)
QUERY = {"desc": "a dog", "input_ids": [7, 8], "vid": "a", "ts": [1, 2.5], "duration": 9}
QUESTION = {"q": "who?", "a0": "he", "a1": "she", "input_ids": [[1], [2], [3]], "answer_idx": 1}
CAPTION = {"caption": "a dog", "input_ids": [7], "clip_id": 3, "vid": "a", "ts": [0, 2]}


def messages_of(report: Report) -> Iterator[str]:
    """Yields the examples of a report."""
    for examples in report.examples.values():
        yield from examples


def make_databases(folder: Path) -> None:
    values = {f"clip {n}": msgpack_value(features(1)) for n in range(6)}
    write_lmdb(
        folder / "tv",
        values | {"a": msgpack_value(features(300)), "b": npz_value(features=features(6))},
    )
    (folder / "id2nframe.json").write_text(json.dumps({"a": 300, "b": 6}))
    write_texts(folder / "subtitles", {"a": SUBTITLES, "b": SUBTITLES})
    write_texts(folder / "queries", {str(n): QUERY for n in range(9)}, META | {"task": "tvr"})
    (folder / "queries/query2video.json").write_text('{"0": "a"}')
    (folder / "queries/query_data.jsonl").write_text('{"desc_id": 0, "vid_name": "a"}\n')
    write_texts(folder / "captions/cap.db", {"3": CAPTION}, None)
    (folder / "captions/meta.json").write_text(json.dumps(META | {"task": "tvc"}))
    for lock in folder.rglob("lock.mdb"):
        lock.unlink()


def read_databases(folder: Path) -> Iterator[str]:
    report = Report()
    for name, read in {
        "tv": _read_video,
        "subtitles": _read_subtitles,
        "queries": read_queries,
        "captions": read_queries,
    }.items():
        try:
            read(folder / name, report)
        except InputError as error:
            yield str(error)
    yield from messages_of(report)


def _read_video(folder: Path, report: Report) -> None:
    database = VideoDatabase(folder)
    for clip_id in sorted(database.ids()):
        try:
            database.num_frames(clip_id)
            database.read(clip_id, report)
        except InputError as error:
            report.add("features", str(error))


def _read_subtitles(folder: Path, report: Report) -> None:
    database = SubtitleDatabase(folder)
    for clip_id in sorted(database.ids()):
        try:
            database.read(clip_id, report)
            database.stored_alignment(clip_id, 9)
        except InputError as error:
            report.add("subtitles", str(error))


def make_database_values(folder: Path) -> None:
    values = {
        "tv-a": msgpack_value(features(4)),
        "tv-b": npz_value(features=features(6)),
        "subtitles-a": msgpack.dumps(SUBTITLES),
        "queries-1": msgpack.dumps(QUERY),
        "questions-1": msgpack.dumps(QUESTION),
        "packed-1": lz4.frame.compress(msgpack.dumps(QUERY)),
    }
    for name, value in values.items():
        (folder / name).write_bytes(value)


def read_database_values(folder: Path) -> Iterator[str]:
    """Puts a value into a database, which is read."""
    (file,) = folder.iterdir()
    kind, _, key = file.name.partition("-")
    value = file.read_bytes()
    place = folder / "database"
    write_lmdb(place, {key: value if kind in ("tv", "packed") else lz4.frame.compress(value)})
    tasks = {"queries": "tvr", "questions": "tvqa", "packed": "tvr"}
    (place / "meta.json").write_text(json.dumps(META | {"task": tasks.get(kind, "tv")}))
    report = Report()
    {"tv": _read_video, "subtitles": _read_subtitles}.get(kind, read_queries)(place, report)
    return messages_of(report)


def make_hdf5(folder: Path) -> None:
    layouts = {
        "plain": {},
        "packed": {"chunks": (2, 4), "compression": "gzip", "shuffle": True},
        "checked": {"chunks": (4, 2), "fletcher32": True},
        "growing": {"chunks": (2, 4), "maxshape": (None, 4), "compression": "lzf"},
    }
    for libver in "earliest", "latest":
        for name, options in layouts.items():
            with h5py.File(folder / f"{name}-{libver}.h5", "w", libver=libver) as file:
                file.create_dataset("features", data=FRAMES, **options)
        with h5py.File(folder / f"groups-{libver}.hdf5", "w", libver=libver) as file:
            for number in range(3):
                file.create_group(f"v{number}")["features"] = FRAMES


def read_hdf5(folder: Path) -> Iterator[str]:
    (file,) = folder.iterdir()
    report = Report()
    for path in (file,) if file.suffix == ".hdf5" else (file, folder):
        parts = FeatureParts([path])
        for video_id in sorted(parts.ids()):
            try:
                parts.num_frames(video_id)
                parts.read(video_id, report)
            except InputError as error:
                yield str(error)
    yield from messages_of(report)


def make_arrays(folder: Path) -> None:
    """Writes a checkpoint without checksums, which version 0.1.0 saved; its files are unnamed."""
    with zipfile.ZipFile(TESTDATA / "checkpoint.zip") as archive:
        archive.extractall(folder)


def read_arrays(folder: Path) -> Iterator[str]:
    params = nnx.state(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.Param)
    adam = optax.ScaleByAdamState(np.int32(5), params, params)
    state = TrainState(np.int32(5), params, (optax.EmptyState(), adam))
    abstract = jax.tree.map(_shape, jax.device_put((state, {"main": FRAMES})))
    checkpoints = Checkpoints(folder, read_only=True)
    for read in checkpoints.restore_params, lambda step: checkpoints.restore(step, *abstract):
        try:
            read(checkpoints.find("latest"))
        except InputError as error:
            yield str(error)


def _shape(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)


STORES = (
    Reader("databases", make_databases, read_databases),
    Reader("values", make_database_values, read_database_values, alone=True),
    Reader("hdf5", make_hdf5, read_hdf5, alone=True),
    Reader("arrays", make_arrays, read_arrays, threads=True),
)
