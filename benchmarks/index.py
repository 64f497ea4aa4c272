"""Search of a large index: opening it, queries a second, the share of the memory's bandwidth.

    python benchmarks/index.py [--clips=1000000] [--folder=FOLDER]

Builds an index of clips of 32 random frames of width 768 in float16, as many as half of the free
disk takes, and searches it for sentences with the full-size model of random weights in float32:
once from the disk, with nothing of the index in memory, and where it fits there again from memory.
What is compiled is not counted. The index is deleted at the end.
"""

import argparse
import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time

import jax
import numpy as np
from flax import nnx

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from configs import tvr
from data.tokenizer import Tokenizer
from hero_jax.experiment.compatibility import plain
from hero_jax.export import LIMITS
from hero_jax.index import Entry, Index, Line, Writer, create
from hero_jax.inference import exported
from hero_jax.inference.model import Model
from hero_jax.models.hero import HERO
from hero_jax.models.params import flatten
from hero_jax.search.engine import BLOCK_BYTES, search

FRAMES, WIDTH, DTYPE, SECONDS = 32, 768, "float16", 1.5
CLIP_BYTES = FRAMES * WIDTH * 2
CLIPS = 1_000_000
SENTENCE = "a red circle jumps over the blue square and then it spins around"
LINES = (Line(1.0, 3.5, "a red circle jumps"), Line(4.0, 7.0, "and then it spins around"))
# Vectors of which the clips are made: each takes some that follow each other.
POOL = 1 << 16
SAMPLES = 3
PROBE_BYTES = 2 << 30
INTERVAL = 0.005  # between two looks at the memory, seconds


def random_model():
    """The full-size model with the heads of moment retrieval, as an export has it."""
    words = Tokenizer.train([SENTENCE] * 3, 300)
    config = tvr.get_config()
    config.model.update(dtype="float32", hidden_size=WIDTH)
    batch = {name: config.batch[name] for name in LIMITS} | {"max_frames": FRAMES}
    names = [field.name for field in dataclasses.fields(exported.RankingSettings)]
    ranking = {name: config.moment_retrieval[name] for name in names}
    params = flatten(nnx.state(HERO(config.model, rngs=nnx.Rngs(0)), nnx.Param))
    params = {path: np.asarray(value) for path, value in params.items()}
    special = words.special
    data = {
        "feature_widths": [config.model.feature_size],
        "seconds_per_feature": SECONDS,
        "tokenizer": words.identity,
        "tokenizer_name": "",
        "vocab_size": words.vocab_size,
        "special_ids": [special.cls, special.pad, special.sep, special.mask],
    }
    description = exported.describe(
        model=plain(config.model), data=data, batch=batch, ranking=ranking, tasks={}, params=params
    )
    return Model(exported.Exported(description, params, words))


def build(path, clips, identity):
    """Seconds to write the index."""
    pool = np.random.default_rng(0).standard_normal((POOL, WIDTH), np.float32).astype(DTYPE)
    firsts = np.random.default_rng(1).integers(0, POOL - FRAMES, clips)
    create(
        path,
        width=WIDTH,
        dtype=DTYPE,
        max_frames=FRAMES,
        seconds_per_feature=SECONDS,
        model=identity,
    )
    begun = time.perf_counter()
    with Writer(path) as writer:
        writer.add(
            Entry(f"clip {n}", f"video {n}", 0.0, pool[first : first + FRAMES], LINES)
            for n, first in enumerate(firsts.tolist())
        )
    return time.perf_counter() - begun


def memory_bandwidth():
    """Bytes a second that all cores together read of memory."""
    values = np.ones(PROBE_BYTES // 4, np.int32)
    parts = np.array_split(values, len(os.sched_getaffinity(0)))
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:

        def seconds():
            begun = time.perf_counter()
            list(pool.map(np.max, parts))
            return time.perf_counter() - begun

        return PROBE_BYTES / min(seconds() for _ in range(SAMPLES))


def disk_bandwidth(path):
    """Bytes a second of reading the frames from the disk, one after another."""
    forget(path)
    (file,) = path.glob("*.frames")
    buffer, size = bytearray(16 << 20), min(file.stat().st_size, PROBE_BYTES)
    with open(file, "rb", buffering=0) as opened:
        begun = time.perf_counter()
        left = size
        while left > 0:
            left -= opened.readinto(buffer)
        return size / (time.perf_counter() - begun)


def forget(path):
    """Drops what is in memory of the files."""
    for file in path.iterdir():
        with open(file, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Memory:
    """The most memory of its own (`own`) that this process has while this is open, in bytes.

    Pages of mapped files are not its own: the system takes them back when it wants memory.
    """

    def __enter__(self):
        self.own, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(INTERVAL):
            self.own = max(self.own, own_memory())


def own_memory():
    """Memory of this process that is no page of a file, in bytes."""
    status = pathlib.Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def sentences(count):
    """Of 13 words each."""
    rng, words = np.random.default_rng(2), SENTENCE.split()
    return [" ".join(rng.permutation(words)) for _ in range(count)]


def measure(path, counts, fits):
    """Prints what a process of its own finds, for numbers of sentences searched for together."""
    forget(path)
    print(f"opened in {1e3 * seconds_of(Index, path):.1f} ms", flush=True)
    size = len(Index(path)) * CLIP_BYTES
    model = random_model()
    # Of another index, so that nothing of this one is in memory after compiling.
    with tempfile.TemporaryDirectory() as folder:
        other = pathlib.Path(folder) / "index"
        build(other, BLOCK_BYTES // CLIP_BYTES, model.identity)
        for count in counts:
            search(model, Index(other), sentences(count))
    memory = memory_bandwidth()
    sources = {"disk": disk_bandwidth(path)} | ({"memory": memory} if fits else {})
    print(
        f"memory is read at {memory / 1e9:.1f} GB/s, the disk at {sources['disk'] / 1e9:.2f} GB/s"
    )
    print("from    queries  encoded in  searched in  queries/s   frames read  of that  own memory")
    for source, bandwidth in sources.items():
        for count in counts:
            texts, before = sentences(count), own_memory()
            encoding = min(seconds_of(model.encode_queries, texts) for _ in range(SAMPLES))
            with Memory() as used:
                if source == "disk":
                    # Only what no open index has mapped is forgotten.
                    forget(path)
                index, samples = Index(path), 1 if source == "disk" else SAMPLES
                total = min(seconds_of(search, model, index, texts) for _ in range(samples))
                del index
            rate = size / (total - encoding)
            print(
                f"{source:<6} {count:8,d} {encoding:9.2f} s {total - encoding:10.2f} s "
                f"{count / total:10.2f} {rate / 1e9:8.2f} GB/s {100 * rate / bandwidth:7.0f}% "
                f"{(used.own - before) / 2**20:+7,.0f} MB",
                flush=True,
            )


def seconds_of(function, *arguments):
    begun = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=CLIPS, help="at most so many")
    parser.add_argument("--folder", default=".", help="to make the index in")
    parser.add_argument(
        "--queries", type=int, nargs="+", default=[1, 8, 64, 256], help="searched for together"
    )
    options = parser.parse_args()
    free = shutil.disk_usage(options.folder).free
    clips = min(options.clips, free // 2 // CLIP_BYTES)
    size = clips * CLIP_BYTES
    print(f"{jax.devices()[0].device_kind}; blocks of {BLOCK_BYTES / 2**20:.0f} MB")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = pathlib.Path(folder) / "index"
        seconds = build(path, clips, random_model().identity)
        print(
            f"{clips:,} clips x {FRAMES} x {WIDTH} in {DTYPE}, {size / 1e9:.1f} GB: built in "
            f"{seconds:.0f} s, {clips / seconds:,.0f} clips/s",
            flush=True,
        )
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(measure, (path, options.queries, size < total / 2))


if __name__ == "__main__":
    main()
