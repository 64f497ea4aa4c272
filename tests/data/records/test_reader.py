"""Random access: the index of offsets, damage of every kind, and datasets that are not there."""

import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.records import tfrecord
from data.records.reader import QuerySplit, Split
from tests.data.clip_samples import assert_equal, build
from tests.data.raw_samples import raw_clip, raw_query
from tests.paths import ROOT

NUM_CLIPS = 5
SHARD = "films-train.tfrecord-00000-of-00001"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "films"
    build(folder, {"train": map(raw_clip, range(NUM_CLIPS))}, {"train": [raw_query(0)]})
    return folder


@pytest.fixture
def dataset(built, tmp_path):
    """A copy that a test may damage. Its shard is `shard_of(dataset)`."""
    return Path(shutil.copytree(built, tmp_path / "films"))


def shard_of(dataset: Path) -> Path:
    return dataset / "clips" / "2.0.0" / SHARD


def index_of(shard: Path) -> Path:
    return shard.with_name(shard.name + tfrecord.INDEX_SUFFIX)


def change_byte(path: Path, position: int) -> None:
    """Flips a bit, and leaves the file's times as they were."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 16]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payloads=st.lists(st.binary(max_size=100), max_size=8))
def test_finds_the_records_that_tensorflow_writes(tmp_path, payloads):
    path = tmp_path / "records"
    with tf.io.TFRecordWriter(str(path)) as file:
        for payload in payloads:
            file.write(payload)
    index_of(path).unlink(missing_ok=True)
    for offsets in (tfrecord.scan(path), tfrecord.offsets(path), tfrecord.offsets(path)):
        assert len(offsets) == len(payloads) + 1
        pairs = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        assert [tfrecord.read_record(path, *pair) for pair in pairs] == payloads


@settings(deadline=None)
@given(data=st.data())
def test_one_changed_byte_damages_one_record(built, tmp_path_factory, data):
    shard = Path(shutil.copy(shard_of(built), tmp_path_factory.mktemp("shard")))
    offsets = tfrecord.offsets(shard)
    position = data.draw(st.integers(0, int(offsets[-1]) - 1))
    damaged = int(np.searchsorted(offsets, position, "right")) - 1
    change_byte(shard, position)
    pairs = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    intact = [tfrecord.read_record(shard, *pair) is not None for pair in pairs]
    in_header = position - offsets[damaged] < tfrecord.HEADER_BYTES
    # The length is not needed once the offsets are known.
    assert intact == [in_header or number != damaged for number in range(NUM_CLIPS)]
    if in_header:
        np.testing.assert_array_equal(tfrecord.scan(shard), offsets[: damaged + 1])


def test_a_new_dataset_has_its_index(built):
    shard = shard_of(built)
    np.testing.assert_array_equal(np.load(index_of(shard)), tfrecord.scan(shard))


def spoil_absent(shard: Path) -> None:
    index_of(shard).unlink()


def spoil_older(shard: Path) -> None:
    # Wrong, so that it shows if it is believed; it ends where the shard does.
    size = shard.stat().st_size
    np.save(index_of(shard), np.array([0, size // 2, size]))
    os.utime(index_of(shard), (0, 0))


def spoil_shorter(shard: Path) -> None:
    np.save(index_of(shard), np.load(index_of(shard))[:-1])


def spoil_garbage(shard: Path) -> None:
    index_of(shard).write_bytes(b"no index")


def spoil_negative(shard: Path) -> None:
    size = shard.stat().st_size
    np.save(index_of(shard), np.array([0, size + 9, size]))


SPOILED = [spoil_absent, spoil_older, spoil_shorter, spoil_garbage, spoil_negative]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_wrong_index_is_built_again(dataset, built, spoil):
    spoil(shard_of(dataset))
    clip = Split(dataset, "train").read(3)
    assert_equal(clip, Split(built, "train").read(3))
    shard = shard_of(dataset)
    np.testing.assert_array_equal(np.load(index_of(shard)), tfrecord.scan(shard))
    assert not list(shard.parent.glob(".*"))  # no temporary file stays


def test_an_index_that_cannot_be_written_is_kept_in_memory(dataset, built):
    index = index_of(shard_of(dataset))
    index.unlink()
    (index / "in the way").mkdir(parents=True)
    assert_equal(Split(dataset, "train").read(4), Split(built, "train").read(4))
    assert not [p for p in index.parent.glob(".*") if p.is_file()]


def test_reads_from_many_threads(built):
    split = Split(built, "train")
    clips = [split.read(number) for number in range(NUM_CLIPS)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for number, clip in enumerate(pool.map(split.read, list(range(NUM_CLIPS)) * 40)):
            assert_equal(clip, clips[number % NUM_CLIPS])


def test_numbers_beyond_the_split_raise_an_index_error(built):
    split = Split(built, "train")
    for number in (-1, NUM_CLIPS):
        with pytest.raises(IndexError):
            split.read(number)


def check_damage(dataset: Path, damaged: list[int], caplog) -> None:
    """Whole clips are read; damaged ones are named, or skipped, counted and named."""
    strict, lenient = Split(dataset, "train"), Split(dataset, "train", on_corrupt="skip")
    assert len(strict) == NUM_CLIPS
    for number in range(NUM_CLIPS):
        if number in damaged:
            named = rf"record {number} of {shard_of(dataset)} cannot be read .*: restore the file"
            with pytest.raises(InputError, match=named):
                strict.read(number)
            assert lenient.read(number) is None
            assert lenient.read(number) is None  # is not counted again
        else:
            assert_equal(strict.read(number), lenient.read(number))
    assert sorted(lenient.corrupt) == damaged
    for number in damaged:
        assert f"record {number} of {shard_of(dataset)}" in lenient.corrupt[number]
        assert lenient.corrupt[number] in caplog.text
    assert len(caplog.records) == len(damaged)


def test_a_record_with_a_changed_byte(dataset, caplog):
    start = int(tfrecord.offsets(shard_of(dataset))[2])
    change_byte(shard_of(dataset), start + tfrecord.HEADER_BYTES + 20)
    check_damage(dataset, [2], caplog)


def test_a_changed_length_hides_the_records_after_it_if_there_is_no_index(dataset, caplog):
    start = int(tfrecord.offsets(shard_of(dataset))[3])
    change_byte(shard_of(dataset), start)
    check_damage(dataset, [], caplog)
    index_of(shard_of(dataset)).unlink()
    check_damage(dataset, [3, 4], caplog)


@pytest.mark.parametrize("cut", [1, 3, 5, 13])
def test_a_shard_that_is_cut_off(dataset, caplog, cut):
    shard = shard_of(dataset)
    offsets = tfrecord.offsets(shard)
    os.truncate(shard, int(offsets[4]) + cut if cut > 4 else int(offsets[5]) - cut)
    check_damage(dataset, [4], caplog)


def test_a_shard_that_is_empty(dataset, caplog):
    os.truncate(shard_of(dataset), 0)
    check_damage(dataset, list(range(NUM_CLIPS)), caplog)


def test_a_record_that_is_not_a_clip(dataset, caplog):
    queries = dataset / "queries" / "2.0.0" / SHARD
    offsets = tfrecord.offsets(shard_of(dataset)).tolist()
    whole, query = shard_of(dataset).read_bytes(), queries.read_bytes()
    shard_of(dataset).write_bytes(whole[: offsets[1]] + query + whole[offsets[2] :])
    check_damage(dataset, [1], caplog)


@pytest.mark.parametrize("on_corrupt", ["ignore", ""])
def test_refuses_an_unknown_on_corrupt(built, on_corrupt):
    with pytest.raises(InputError, match=r"on_corrupt is .*: choose one of error, skip"):
        Split(built, "train", on_corrupt)


def test_refuses_a_dataset_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match=r"absent does not exist: .*python -m data\.build"):
        Split(tmp_path / "absent", "train")
    with pytest.raises(InputError, match="holds no dataset: name another folder"):
        Split(tmp_path, "train")


def test_refuses_a_dataset_of_another_version(dataset):
    (dataset / "clips" / "2.0.0").rename(dataset / "clips" / "0.9.0")
    with pytest.raises(InputError, match=r"version 0\.9\.0 where 2\.0\.0 is needed"):
        Split(dataset, "train")


def test_refuses_an_unknown_split(built):
    with pytest.raises(InputError, match="no clips in a split 'val': choose from train"):
        Split(built, "val")
    with pytest.raises(InputError, match="no queries in a split 'test': choose from train"):
        QuerySplit(built, "test")


def test_refuses_a_dataset_with_a_shard_missing(dataset):
    shard_of(dataset).unlink()
    with pytest.raises(InputError, match=f"{SHARD} is missing: copy dataset .* whole"):
        Split(dataset, "train")


def test_refuses_a_dataset_that_does_not_list_its_shards(dataset):
    path = dataset / "clips" / "2.0.0" / "dataset_info.json"
    for spoil in (lambda: path.write_text('{"name": "films", "splits": []}'), path.unlink):
        spoil()
        with pytest.raises(InputError, match=f"{path} is missing or does not list the shards"):
            Split(dataset, "train")


def test_refuses_metadata_of_something_else(dataset):
    path = dataset / "clips" / "2.0.0" / "metadata.json"
    for content in ("{", "[]", '{"name": "films"}'):
        path.write_text(content)
        with pytest.raises(InputError, match=f"{path} does not describe a dataset"):
            Split(dataset, "train")


def test_reads_a_dataset_under_another_name(dataset, built):
    moved = dataset.rename(dataset.with_name("elsewhere"))
    assert_equal(Split(moved, "train").read(1), Split(built, "train").read(1))


KILLED = """
import os, signal, sys
from tests.data.clip_samples import build
from tests.data.raw_samples import raw_clip, raw_query
from data.sources.base import ClipSource
ClipSource.narrowed = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
build(sys.argv[1], {"train": [raw_clip(0)]}, {"train": [raw_query(0)]})
"""


def test_a_killed_build_is_reported_and_can_be_repeated(tmp_path):
    folder = tmp_path / "films"
    command = [sys.executable, "-c", KILLED, folder]
    result = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert result.returncode == -signal.SIGKILL
    for kind in (Split, QuerySplit):
        with pytest.raises(InputError, match=r"films is half-built, .* again"):
            kind(folder, "train")
    build(folder, {"train": [raw_clip(0)]})
    assert len(Split(folder, "train")) == 1
    assert [p.name for p in (folder / "clips").iterdir()] == ["2.0.0"]
