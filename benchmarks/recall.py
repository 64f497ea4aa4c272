"""Part of `benchmarks.index`: what a store finds of the exact best clips, and what that takes.

Clips are synthetic: each is about one of many topics, and its frames are about the clip, as encoded
frames are. A query is beside a frame. Sizes grow to the largest; a power of the number of clips is
fitted to what each takes.
"""

import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.measuring import in_new_process, peak_memory
from hero_jax.index import Entry, Line, create, open_index, open_writer
from hero_jax.retrieval.scan import best_clips, best_of
from hero_jax.search.engine import LEAST_CANDIDATES

FRAMES, SECONDS = 32, 1.5
TOPICS = 1000
# Standard deviations of the values: of a clip about its topic, of a frame and of a query about it.
CLIP_NOISE, FRAME_NOISE, QUERY_NOISE = 1.0, 0.7, 1.0
RANKS = (1, 10, 100)
QUERIES = 100
# Shares of the largest number of clips that are measured.
SIZES = (0.25, 0.5, 1.0)
AT_ONCE = 100
FORECAST = 1_000_000


@dataclasses.dataclass(frozen=True)
class Measured:
    """The cost of an index of a size: seconds, bytes and MB, and for a query milliseconds.

    recalls: shares of the exact best clips that were found, for each of `RANKS`.
    """

    clips: int
    build: float
    disk: float
    recalls: tuple[float, ...]
    median: float
    slow: float
    cpu: float
    memory: float


def made_clips(count: int, width: int) -> Iterator[Entry]:
    """Draws clips."""
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((TOPICS, width), np.float32)
    words = [f"word{n}" for n in range(TOPICS)]
    for first in range(0, count, AT_ONCE):
        number = min(AT_ONCE, count - first)
        about = rng.integers(0, TOPICS, number)
        centers = topics[about] + CLIP_NOISE * rng.standard_normal((number, width), np.float32)
        noise = FRAME_NOISE * rng.standard_normal((number, FRAMES, width), np.float32)
        for n, (topic, frames) in enumerate(
            zip(about, centers[:, None] + noise, strict=True), first
        ):
            line = Line(0.0, 3.0, f"{words[topic]} is said in clip {n}")
            yield Entry(f"clip {n}", f"part {n % 10}/{n}", 0.0, frames.astype(np.float16), (line,))


def made_queries(count: int, width: int) -> np.ndarray:
    """Draws queries beside frames of the first clips, `[count, width]`."""
    rng = np.random.default_rng(1)
    frames = [entry.frames[n % FRAMES] for n, entry in enumerate(made_clips(count, width))]
    return np.array(frames, np.float32) + QUERY_NOISE * rng.standard_normal(
        (count, width), np.float32
    )


def build(path: pathlib.Path, clips: int, width: int, store: str) -> float:
    """Writes an index with all that the store adds for searching; returns the seconds."""
    named = {"width": width, "dtype": "float16", "max_frames": FRAMES, "model": {"identity": ""}}
    create(path, **named, seconds_per_feature=SECONDS, store=store)
    begun = time.perf_counter()
    with open_writer(path) as writer:
        writer.add(made_clips(clips, width))
    return time.perf_counter() - begun


def searched(path: pathlib.Path, queries: np.ndarray) -> tuple[tuple[float, ...], list[float]]:
    """Searches an index; returns its recalls, and p50, p95, CPU milliseconds and memory in MB."""
    index, count = open_index(path), RANKS[-1]

    def find(query: np.ndarray) -> np.ndarray:
        candidates = index.candidates(query, LEAST_CANDIDATES)
        if candidates is None:
            return best_clips(index, query[None], count)[1][0]
        return best_of(index, query, candidates, count)[1]

    # Once to compile, and to read what is kept in memory.
    find(queries[0])
    seconds, cpu, found = [], time.process_time(), []
    for query in queries:
        begun = time.perf_counter()
        found.append(find(query))
        seconds.append(time.perf_counter() - begun)
    cpu = (time.process_time() - cpu) / len(queries)
    memory = peak_memory()
    _, best = best_clips(index, queries, count)
    recalls = tuple(
        float(
            np.mean(
                [
                    np.isin(row[:rank], of_row[:rank]).mean()
                    for row, of_row in zip(best, found, strict=True)
                ]
            )
        )
        for rank in RANKS
    )
    return recalls, [1e3 * np.median(seconds), 1e3 * np.quantile(seconds, 0.95), 1e3 * cpu, memory]


def measure(folder: pathlib.Path, clips: int, width: int, store: str) -> Measured:
    """Builds an index in a folder and searches it, each in a new process."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = pathlib.Path(name) / "index"
        seconds = in_new_process(build, path, clips, width, store)
        # Files may have holes.
        disk = sum(file.stat().st_blocks * 512 for file in path.rglob("*"))
        queries = made_queries(min(QUERIES, clips), width)
        recalls, taken = in_new_process(searched, path, queries)
    return Measured(clips, seconds, disk, recalls, *taken)


def fit(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Fits `a * size ** power`; returns the power and the value at FORECAST."""
    power, constant = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(power), float(np.exp(constant + power * np.log(FORECAST)))


def run(folder: pathlib.Path, clips: int, width: int, store: str) -> None:
    """Prints a row for each size, and what the largest index would take."""
    print(f"store {store}, {FRAMES} frames of width {width} in float16, {QUERIES} queries")
    titles = [*(f"R@{rank}" for rank in RANKS), "p50", "p95", "CPU", "memory"]
    print(f"{'clips':>10}{'built in':>10}{'disk':>10}" + "".join(f"{one:>9}" for one in titles))
    rows = []
    for share in SIZES:
        row = measure(folder, max(round(clips * share), 1), width, store)
        rows.append(row)
        recalls = "".join(f"{value:9.3f}" for value in row.recalls)
        times = "".join(f"{value:6.1f} ms" for value in (row.median, row.slow, row.cpu))
        print(
            f"{row.clips:10,d}{row.build:8.1f} s{row.disk / 1e9:7.2f} GB{recalls}{times}"
            f"{row.memory:6,.0f} MB",
            flush=True,
        )
    sizes = [row.clips for row in rows]
    for name, unit, factor in (("build", "s", 1.0), ("disk", "GB", 1e-9), ("cpu", "ms", 1.0)):
        power, value = fit(sizes, [getattr(row, name) for row in rows])
        print(f"{name} grows as clips^{power:.2f}: {value * factor:,.1f} {unit} for {FORECAST:,}")
