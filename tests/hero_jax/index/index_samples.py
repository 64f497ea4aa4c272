"""Indexes for tests, and their content as values that can be compared. NumPy only, no JAX."""

import math

import ml_dtypes  # noqa: F401 - for bfloat16
import numpy as np
import pytest

from hero_jax.index import Entry, Index, Line, Writer, create

WIDTH, MAX_FRAMES = 3, 4
MODEL = {"identity": "a model", "settings": {"layers": [6, 3]}}
WORDS = ("Oh.", "", "naïve", "日本語\n", 'a "quoted" \\ word', "\0", "😀")


def needs(store):
    """Skips a test of a store whose package is missing."""
    if store == "lance":
        pytest.importorskip("lance", reason="requirements-lance.txt is not installed")


def make(path, dtype="float16", max_frames=MAX_FRAMES, store="files"):
    """Makes an empty index and returns its path."""
    create(
        path,
        width=WIDTH,
        dtype=dtype,
        max_frames=max_frames,
        seconds_per_feature=1.5,
        model=MODEL,
        store=store,
    )
    return path


def entry(clip_id: str, seed, num_frames=None) -> Entry:
    """Returns a clip that depends on its id and a seed (int or ints) only."""
    rng = np.random.default_rng(seed)
    num_frames = num_frames or int(rng.integers(1, MAX_FRAMES + 1))
    lines = tuple(
        Line(float(rng.random()), float(rng.random()) + 1, WORDS[rng.integers(len(WORDS))])
        for _ in range(rng.integers(3))
    )
    frames = rng.standard_normal((num_frames, WIDTH)).astype(np.float32)
    return Entry(clip_id, f"video of {clip_id}", float(rng.random()) * 1e3, frames, lines)


def value(one: Entry, dtype="float16") -> tuple:
    """Returns what an index has to return for an entry."""
    return one.video_id, one.start, one.lines, one.frames.astype(dtype).tobytes()


def content(index: Index) -> dict[str, tuple]:
    """Returns the `value` of each clip by id, and checks that all methods agree on it."""
    found, num_frames = {}, index.num_frames()
    block = index.block(0, index.capacity)
    assert num_frames.dtype == np.int32
    assert len(num_frames) == index.capacity == len(block)
    for number, clip_id in index.clip_ids():
        clip, frames = index.describe(number), index.frames([number])[0]
        assert clip.clip_id == clip_id
        assert index.clips([number]) == [clip]
        assert clip.num_frames == num_frames[number] > 0
        assert frames.dtype == block.dtype == index.dtype
        assert frames.tobytes() == block[number].tobytes()
        assert not frames[clip.num_frames :].any()
        assert clip_id not in found
        frames = frames[: clip.num_frames].tobytes()
        found[clip_id] = clip.video_id, clip.start, clip.lines, frames
    assert len(found) == len(index) == np.count_nonzero(num_frames)
    assert math.prod(block.shape[1:]) == MAX_FRAMES * WIDTH
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(block.astype(np.float32), axis=-1)
    np.testing.assert_allclose(index.norms(0, index.capacity), norms, rtol=1e-6)
    return found


def filled(path, *names, dtype="float16"):
    """Makes an index with a segment for each of `names`; returns the values of clips by id."""
    make(path, dtype)
    expected = {}
    with Writer(path) as writer:
        for seed, name in enumerate(names):
            entries = [entry(one, (seed, number)) for number, one in enumerate(name)]
            writer.add(entries)
            expected |= {one.clip_id: value(one, dtype) for one in entries}
    return expected


def files(path) -> dict[str, bytes]:
    """The files of an index by name; the lock, which tells who holds it, without its content."""
    return {file.name: b"" if file.name == "lock" else file.read_bytes() for file in path.iterdir()}
