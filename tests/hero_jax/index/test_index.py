"""The index of clips holds what a dict would, and readers keep what they opened."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, stateful
from hypothesis import strategies as st

from data.errors import InputError
from hero_jax.index import DTYPES, Index, IndexedClip, Line, Writer
from tests.hero_jax.index.index_samples import (
    MAX_FRAMES,
    MODEL,
    WIDTH,
    content,
    entry,
    files,
    filled,
    make,
    value,
)

IDS = ("a", "b", "c", "clip 4", "日本", "a/b", "é", "e\u0301")
EACH_DTYPE = pytest.mark.parametrize("dtype", DTYPES)


class Mirror(stateful.RuleBasedStateMachine):
    """An index and a dict, changed alike; readers with what they had when they opened."""

    @stateful.initialize(dtype=st.sampled_from(DTYPES))
    def begin(self, dtype):
        self.path, self.dtype = make(Path(tempfile.mkdtemp(dir=self.base)), dtype), dtype
        self.writer, self.expected, self.readers = Writer(self.path), {}, []

    def teardown(self):
        if hasattr(self, "writer"):
            self.writer.__exit__()

    @stateful.rule(ids=st.sets(st.sampled_from(IDS)), seed=st.integers(0, 1000))
    def add(self, ids, seed):
        entries = [entry(one, (seed, number)) for number, one in enumerate(sorted(ids))]
        replaced = len(ids & self.expected.keys())
        assert self.writer.add(iter(entries)) == (len(ids) - replaced, replaced)
        self.expected |= {one.clip_id: value(one, self.dtype) for one in entries}

    @stateful.rule(ids=st.sets(st.sampled_from(IDS)))
    def delete(self, ids):
        there = ids & self.expected.keys()
        if there != ids:
            with pytest.raises(InputError, match="has no clip"):
                self.writer.delete(ids)
        assert self.writer.delete(there) == len(there)
        for one in there:
            del self.expected[one]

    @stateful.rule()
    def compact(self):
        self.writer.compact()
        index = Index(self.path)
        assert index.capacity == len(index)

    @stateful.rule()
    def open_the_writer_again(self):
        self.writer.__exit__()
        self.writer = Writer(self.path)

    @stateful.rule()
    def open_a_reader(self):
        self.readers.append((Index(self.path), dict(self.expected)))

    @stateful.invariant()
    def every_clip_is_found(self):
        if hasattr(self, "writer"):
            assert content(Index(self.path)) == self.expected
            for index, expected in self.readers:
                assert content(index) == expected


def test_an_index_holds_what_a_dict_would(tmp_path):
    class Here(Mirror):
        base = tmp_path

    stateful.run_state_machine_as_test(
        Here, settings=settings(max_examples=25, stateful_step_count=12, deadline=None)
    )


def test_an_empty_index_has_its_settings(tmp_path):
    make(tmp_path / "new" / "index", "bfloat16")
    index = Index(str(tmp_path / "new" / "index"))
    assert (len(index), index.capacity) == (0, 0)
    assert (index.width, index.max_frames) == (WIDTH, MAX_FRAMES)
    assert (index.dtype, index.seconds_per_feature, index.model) == ("bfloat16", 1.5, MODEL)
    assert index.num_frames().shape == (0,)
    assert index.block(0, 2).shape == (2, MAX_FRAMES, WIDTH)
    assert index.frames([]).shape == (0, MAX_FRAMES, WIDTH)


@EACH_DTYPE
def test_frames_in_the_dtype_come_back_bit_for_bit(tmp_path, dtype):
    make(tmp_path, dtype)
    size = np.dtype(dtype).itemsize
    bits = np.random.default_rng(0).integers(0, 256, (MAX_FRAMES, WIDTH * size), np.uint8)
    frames = bits.view(dtype)
    frames = np.where(np.isfinite(frames), frames, frames.dtype.type(-0.0))
    with Writer(tmp_path) as writer:
        writer.add([dataclasses.replace(entry("a", 0), frames=frames)])
        writer.compact()
    assert Index(tmp_path).frames([0]).tobytes() == frames.tobytes()


def test_a_clip_is_described(tmp_path):
    make(tmp_path)
    lines = (Line(0.1, 2.0, "Nothing's gonna stop us."), Line(1.0, 1.0, ""))
    one = dataclasses.replace(entry("a", 0, 3), start=0.1 + 0.2, lines=lines)
    with Writer(tmp_path) as writer:
        writer.add([one, entry("b", 1)])
        writer.delete(["a"])
    index = Index(tmp_path)
    described = IndexedClip("a", one.video_id, 0.1 + 0.2, 0, lines)
    assert index.describe(0) == index.describe(np.int32(0)) == described
    assert [*index.clip_ids()] == [(1, "b")]
    with pytest.raises(IndexError):
        index.describe(2)


@given(first=st.integers(0, 12), count=st.integers(0, 12), data=st.data())
def test_frames_by_block_and_by_number(three_segments, first, count, data):
    index, everything = three_segments
    block = index.block(first, count)
    there = everything[first : first + count]
    assert block.shape == (count, MAX_FRAMES, WIDTH)
    assert block[: len(there)].tobytes() == there.tobytes()
    assert not block[len(there) :].any()
    norms = np.linalg.norm(block.astype(np.float32), axis=-1)
    np.testing.assert_allclose(index.norms(first, count), norms, rtol=1e-6)
    numbers = data.draw(st.lists(st.integers(0, index.capacity - 1)))
    assert index.frames(numbers).tobytes() == everything[numbers].tobytes()


@pytest.fixture(scope="module")
def three_segments(tmp_path_factory):
    """An index of 10 clips, one deleted, and the frames of them all."""
    path, entries = make(tmp_path_factory.mktemp("three"), "bfloat16"), []
    with Writer(path) as writer:
        for size in (4, 1, 5):
            new = [entry(str(len(entries) + n), len(entries) + n) for n in range(size)]
            writer.add(new)
            entries += new
        writer.delete(["1"])
    everything = np.zeros((10, MAX_FRAMES, WIDTH), "bfloat16")
    for number, one in enumerate(entries):
        everything[number, : len(one.frames)] = one.frames
    return Index(path), everything


def test_a_block_of_one_segment_is_no_copy(three_segments):
    index, _ = three_segments
    for first, count in ((0, 4), (1, 2), (4, 1), (5, 5), (7, 2)):
        block = index.block(first, count)
        assert np.shares_memory(block, index.block(first, 1))
        assert not block.flags.writeable
    assert not np.shares_memory(index.block(3, 2), index.block(3, 1))


@pytest.mark.parametrize("numbers", [[-1], [0, 10]])
def test_unknown_numbers_are_refused(three_segments, numbers):
    index, _ = three_segments
    with pytest.raises(IndexError):
        index.frames(numbers)
    with pytest.raises(IndexError):
        index.block(-1, 2)


def test_opening_reads_no_single_clip(tmp_path):
    expected = filled(tmp_path, "abc", "de", "fgh")
    for file in tmp_path.glob("*.clips"):
        file.write_bytes(b"\xff" * file.stat().st_size)
    index = Index(tmp_path)
    assert len(index) == index.capacity == len(expected)
    frames = [value[-1] for value in expected.values()]
    assert index.block(0, 1).tobytes().startswith(frames[0])


def test_many_small_changes_leave_few_files(tmp_path):
    make(tmp_path)
    expected, reader, at_opening = {}, None, None
    with Writer(tmp_path) as writer:
        for step in range(100):
            one = entry(str(step % 90), step)
            writer.add([one])
            expected[one.clip_id] = value(one)
            if step == 60:
                reader, at_opening = Index(tmp_path), dict(expected)
    assert content(Index(tmp_path)) == expected
    assert content(reader) == at_opening
    assert len([*tmp_path.glob("*.frames")]) <= 64


def test_compacting_leaves_large_segments_alone(tmp_path):
    expected = filled(tmp_path, [str(number) for number in range(40)], "a", "b", "cd")
    with Writer(tmp_path) as writer:
        before = files(tmp_path)
        writer.compact()
        once = files(tmp_path)
        writer.compact()
        assert files(tmp_path) == once
        assert {name for name in before if name in once} >= {
            f"000001.{part}" for part in ("frames", "norms", "clips", "words")
        }
        assert len(once) == 2 + 2 * 4
        writer.delete(["5"])
        writer.compact()
        assert "000001.frames" not in files(tmp_path)
    del expected["5"]
    assert content(Index(tmp_path)) == expected


def test_missing_frames_take_no_room(tmp_path):
    make(tmp_path, max_frames=1 << 20)
    with Writer(tmp_path) as writer:
        writer.add([entry(str(number), number) for number in range(5)])
        writer.delete(["0"])
        writer.compact()
    (frames,) = tmp_path.glob("*.frames")
    assert frames.stat().st_size == 4 * (1 << 20) * WIDTH * 2
    assert frames.stat().st_blocks * 512 < 1 << 20
