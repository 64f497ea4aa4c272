"""Search of a large index: opening it, queries per second, share of the memory bandwidth.

    python -m benchmarks.index [--clips=1000000] [--folder=FOLDER]
    python -m benchmarks.index --store=lance [--clips=20000] [--folder=FOLDER]

Builds an index of clips of 32 random frames of width 768 in float16, on at most half of the free
disk, and searches it for sentences with a full-size model of random weights in float32: once from
disk, with nothing of the index in memory, and again from memory if it fits. Compilation is not
counted. The index is deleted at the end.

With a store, compares what it finds with the exact best clips, and measures build time, disk, time
and memory for three sizes; see `benchmarks.recall`.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from benchmarks import recall
from benchmarks.measuring import in_new_process, memory_field, seconds_of
from configs import pretrain, tvr
from data.command import path_argument
from data.tokenizer import Tokenizer
from hero_jax.experiment.compatibility import plain
from hero_jax.export import LIMITS
from hero_jax.index import STORES, Entry, Index, Line, Writer, create
from hero_jax.inference import exported
from hero_jax.inference.model import Model
from hero_jax.models.hero import HERO
from hero_jax.models.params import flatten
from hero_jax.search.engine import BLOCK_BYTES, search

FRAMES, DTYPE, SECONDS = 32, "float16", 1.5
# Of the frames of a store's clips.
WIDTH, SMALL_WIDTH = 768, 16
CLIPS = 1_000_000
SENTENCE = "a red circle jumps over the blue square and then it spins around"
LINES = (Line(1.0, 3.5, "a red circle jumps"), Line(4.0, 7.0, "and then it spins around"))
# Random vectors; each clip takes consecutive ones.
POOL = 1 << 16
SAMPLES = 3
PROBE_BYTES, SMALL_PROBE_BYTES = 2 << 30, 2 << 20
INTERVAL = 0.005  # seconds between two samples of the memory


def random_model(small: bool = False) -> Model:
    """Returns a model with the heads of moment retrieval, in the form of an export."""
    words = Tokenizer.train([SENTENCE] * 3, 300)
    config = tvr.get_config()
    if small:
        pretrain.small(config)
    config.model.update(dtype="float32")
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


def clip_bytes(model: Model) -> int:
    """Returns the bytes of a clip's frames in the index."""
    return FRAMES * model.width * np.dtype(DTYPE).itemsize


def build(path: pathlib.Path, clips: int, model: Model) -> float:
    """Writes an index; returns the seconds that its clips took."""
    pool = np.random.default_rng(0).standard_normal((POOL, model.width), np.float32).astype(DTYPE)
    firsts = np.random.default_rng(1).integers(0, POOL - FRAMES, clips)
    create(
        path,
        width=model.width,
        dtype=DTYPE,
        max_frames=FRAMES,
        seconds_per_feature=SECONDS,
        model=model.identity,
    )
    begun = time.perf_counter()
    with Writer(path) as writer:
        writer.add(
            Entry(f"clip {n}", f"video {n}", 0.0, pool[first : first + FRAMES], LINES)
            for n, first in enumerate(firsts.tolist())
        )
    return time.perf_counter() - begun


def memory_bandwidth(probe_bytes: int) -> float:
    """Returns the bytes per second that all cores together read from memory."""
    values = np.ones(probe_bytes // 4, np.int32)
    parts = np.array_split(values, len(os.sched_getaffinity(0)))
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:

        def seconds():
            begun = time.perf_counter()
            list(pool.map(np.max, parts))
            return time.perf_counter() - begun

        return probe_bytes / min(seconds() for _ in range(SAMPLES))


def disk_bandwidth(path: pathlib.Path, probe_bytes: int) -> float:
    """Returns the bytes per second of reading the frames from disk, in order."""
    drop_from_page_cache(path)
    (file,) = path.glob("*.frames")
    buffer, size = bytearray(16 << 20), min(file.stat().st_size, probe_bytes)
    with open(file, "rb", buffering=0) as opened:
        begun = time.perf_counter()
        left = size
        while left > 0:
            left -= opened.readinto(buffer)
        return size / (time.perf_counter() - begun)


def drop_from_page_cache(path: pathlib.Path) -> None:
    """Drops the files of a folder from the page cache."""
    for file in path.iterdir():
        with open(file, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class PeakMemory:
    """Peak of this process's anonymous memory while the context is open, as `bytes`.

    Pages of mapped files do not count: the system reclaims them when it needs memory.
    """

    def __enter__(self) -> "PeakMemory":
        self.bytes, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(INTERVAL):
            self.bytes = max(self.bytes, anonymous_memory())


def anonymous_memory() -> int:
    """Returns the memory of this process that is not a page of a file, in bytes."""
    return memory_field("/proc/self/status", "RssAnon")


def sentences(count: int) -> list[str]:
    """Returns random orders of the same 13 words."""
    rng, words = np.random.default_rng(2), SENTENCE.split()
    return [" ".join(rng.permutation(words)) for _ in range(count)]


def measure(
    path: pathlib.Path, counts: Sequence[int], fits: bool, small: bool, probe_bytes: int
) -> None:
    """Prints the table for an index.

    Args:
      path: of the index.
      counts: numbers of sentences that are searched for together.
      fits: whether the index fits into memory.
      small: whether the model is small.
      probe_bytes: bytes to read for the bandwidths of memory and disk.
    """
    drop_from_page_cache(path)
    print(f"opened in {1e3 * seconds_of(Index, path):.1f} ms", flush=True)
    model = random_model(small)
    size = len(Index(path)) * clip_bytes(model)
    compile_searches(model, counts, len(Index(path)))
    bandwidths = {"disk": disk_bandwidth(path, probe_bytes)}
    memory = memory_bandwidth(probe_bytes)
    print(f"memory is read at {memory / 1e9:.1f} GB/s, disk at {bandwidths['disk'] / 1e9:.2f} GB/s")
    if fits:
        bandwidths["memory"] = memory
    print("from    queries  encoded in  searched in  queries/s   frames read  of that  own memory")
    for source, bandwidth in bandwidths.items():
        for count in counts:
            texts, before = sentences(count), anonymous_memory()
            encoding = min(seconds_of(model.encode_queries, texts) for _ in range(SAMPLES))
            with PeakMemory() as peak:
                if source == "disk":
                    # The system keeps pages that an open index has mapped.
                    drop_from_page_cache(path)
                index, samples = Index(path), 1 if source == "disk" else SAMPLES
                total = min(seconds_of(search, model, index, texts) for _ in range(samples))
                del index
            # The two are measured apart, and a tiny search may take no longer than its encoding.
            searching = max(total - encoding, 1e-9)
            rate = size / searching
            print(
                f"{source:<6} {count:8,d} {encoding:9.2f} s {searching:10.2f} s "
                f"{count / total:10.2f} {rate / 1e9:8.2f} GB/s {100 * rate / bandwidth:7.0f}% "
                f"{(peak.bytes - before) / 2**20:+7,.0f} MB",
                flush=True,
            )


def compile_searches(model: Model, counts: Sequence[int], clips: int) -> None:
    """Compiles the searches of an index of so many clips, without reading it into memory."""
    with tempfile.TemporaryDirectory() as folder:
        other = pathlib.Path(folder) / "index"
        build(other, min(BLOCK_BYTES // clip_bytes(model), clips), model)
        for count in counts:
            search(model, Index(other), sentences(count))


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds the index and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.index", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--clips", type=int, default=CLIPS, help="at most; default: %(default)s")
    parser.add_argument("--store", choices=STORES, help="compare what a store finds instead")
    parser.add_argument(
        "--folder", type=path_argument, default=".", help="folder to build the index in"
    )
    parser.add_argument(
        "--queries", type=int, nargs="+", default=[1, 8, 64, 256], help="searched for together"
    )
    parser.add_argument(
        "--small", action="store_true", help="a small model and probe, to try the command"
    )
    options = parser.parse_args(arguments)
    if options.store:
        width = SMALL_WIDTH if options.small else WIDTH
        recall.run(options.folder, options.clips, width, options.store)
        return
    model = random_model(options.small)
    free = shutil.disk_usage(options.folder).free
    clips = min(options.clips, free // 2 // clip_bytes(model))
    size = clips * clip_bytes(model)
    print(f"{jax.devices()[0].device_kind}; blocks of {BLOCK_BYTES / 2**20:.0f} MB")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = pathlib.Path(folder) / "index"
        seconds = build(path, clips, model)
        print(
            f"{clips:,} clips x {FRAMES} x {model.width} in {DTYPE}, {size / 1e9:.1f} GB: built in "
            f"{seconds:.0f} s, {clips / seconds:,.0f} clips/s",
            flush=True,
        )
        del model
        fits = size < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
        probe_bytes = SMALL_PROBE_BYTES if options.small else PROBE_BYTES
        in_new_process(measure, path, options.queries, fits, options.small, probe_bytes)


if __name__ == "__main__":
    main()
