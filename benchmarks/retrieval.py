"""Queries a second of moment retrieval in a corpus, and its memory.

    python benchmarks/retrieval.py [--queries=10000]

Encodes random queries of about 15 tokens with the full-size model in float32, and ranks them
against random clips of 60 frames of width 768: 2,000 clips in float32, beside the same search with
every span of every clip; then more and more clips in bfloat16. The largest corpus takes 9.2 GB and
is left out where less than 16 GB are free. Compiling is not counted. Needs no data set.
"""

import argparse
import multiprocessing
import pathlib
import re
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from configs import pretrain
from data.pipeline import packing
from hero_jax import sharding
from hero_jax.models.heads import SpanHead, clip_scores
from hero_jax.models.hero import HERO
from hero_jax.retrieval import ranking
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.tasks.base import Tokens

# As RoBERTa numbers them.
TOKENS = Tokens(cls=0, pad=1, sep=2, mask=50264, first_word=4, end_word=50264)
FRAMES, WIDTH = 60, 768
CLIPS = 2000
# As published for TVR.
SETTINGS = RankingSettings(
    top_clips=100,
    temperature=20.0,
    min_span=2,
    max_span=16,
    max_predictions=200,
    nms_iou=0.5,
    max_after_nms=100,
)
QUERY_ROWS = ConfigDict({"query_rows_per_group": 32, "row_length": 128})
# Of which the plain searches are made, and those of large corpora.
FEW = 8
MORE = 64
CORPORA = (1_000, 10_000, 100_000)
ENOUGH_MEMORY = 16e9  # to try the largest
ALIGNMENT = 64
GPU_MEMORY = 140e9


def model_config():
    config = pretrain.get_config().model
    config.update(dtype="float32", hidden_size=WIDTH)
    return config


def query_batches(count):
    """Packed rows of random queries, one group each."""
    rng = np.random.default_rng(0)
    lengths = np.clip(np.rint(rng.normal(14, 4, count)), 3, 40).astype(int)
    words = [rng.integers(TOKENS.first_word, TOKENS.end_word, length) for length in lengths]
    places = QUERY_ROWS.query_rows_per_group * QUERY_ROWS.row_length // 4
    batches, left = [], words[::-1]
    while left:
        arrays = packing.query_arrays(1, QUERY_ROWS, places, TOKENS.pad)
        group = {name: array[0] for name, array in arrays.items()}
        packer = packing.QueryRows(group, QUERY_ROWS, TOKENS)
        while left and packer.add([left[-1]]):
            left.pop()
        batches.append(arrays)
    return batches


def encode(count):
    """(query vectors `[N, H]`, seconds) of the query encoder."""
    graphdef, params = nnx.split(HERO(model_config(), rngs=nnx.Rngs(0)))

    @jax.jit
    def run(params, arrays):
        queries = {name.removeprefix("query_"): array for name, array in arrays.items()}
        queries |= {name: arrays[name] for name in ("query_index", "query_mask")}
        return nnx.merge(graphdef, params).encode_queries(queries)

    batches = query_batches(count)
    run(params, batches[0]).block_until_ready()
    begun = time.perf_counter()
    vectors = [np.asarray(run(params, arrays))[arrays["query_mask"]] for arrays in batches]
    return np.concatenate(vectors), time.perf_counter() - begun


def random_frames(count, dtype):
    """`[count, FRAMES, WIDTH]`: a thousand random clips, again and again with frames moved on."""
    rng = np.random.default_rng(1)
    some = rng.standard_normal((min(count, 1000), FRAMES, WIDTH), np.float32).astype(dtype)
    size = count * FRAMES * WIDTH * some.itemsize
    # On a CPU, JAX takes an array as it is if it lies at a multiple of 64, and else copies it.
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    frames = memory[first : first + size].view(dtype).reshape(count, FRAMES, WIDTH)
    for first in range(0, count, len(some)):
        moved = np.roll(some, first // len(some), axis=1)
        frames[first : first + len(some)] = moved[: count - first]
    return frames


def random_queries(count):
    return np.random.default_rng(2).standard_normal((count, WIDTH), np.float32)


def rank(queries, frames):
    """Seconds of ranking all queries in these clips, on one device."""
    head = SpanHead(model_config(), rngs=nnx.Rngs(0))
    mesh = sharding.make_mesh(pretrain.get_config().mesh, jax.devices()[:1])
    corpus = ranking.Corpus(frames, np.full(len(frames), FRAMES), mesh)
    own = np.arange(len(queries)) % len(frames)
    block = min(ranking.QUERY_BLOCK, len(queries))
    ranking.rank(head, queries[:block], corpus, SETTINGS, own[:block])
    begun = time.perf_counter()
    ranking.rank(head, queries, corpus, SETTINGS, own)
    return time.perf_counter() - begun


def search_plainly(queries, frames, top_clips):
    """Seconds of scoring all F x F spans of the best clips and sorting all of them.

    Span logits are made of all clips at once.
    """
    head = SpanHead(model_config(), rngs=nnx.Rngs(0))
    valid = jnp.ones(frames.shape[:2], bool)
    widths = np.arange(FRAMES) - np.arange(FRAMES)[:, None]
    allowed = (widths >= SETTINGS.min_span) & (widths < SETTINGS.max_span)
    near = np.abs(widths) <= 2

    @jax.jit
    def run(queries, frames):
        scores = clip_scores(queries, frames, valid)
        similarity = jnp.einsum("nh,cfh->ncf", head.query(queries), frames)

        def probabilities(kernel):
            # The convolution as a matrix with a band.
            banded = jnp.where(near, kernel[jnp.clip(-widths + 2, 0, 4)], 0)
            return jax.nn.softmax(similarity @ banded)

        def of_query(part):
            scores, start, end = part
            scores, best = jax.lax.top_k(scores, top_clips)
            scores = jnp.exp(SETTINGS.temperature * scores)
            products = scores[:, None, None] * start[best][:, :, None] * end[best][:, None]
            flat = jnp.where(allowed, products, 0).reshape(-1)
            order = jnp.argsort(-flat)[: SETTINGS.max_predictions]
            return flat[order], best[order // FRAMES**2], order % FRAMES**2

        return jax.lax.map(
            of_query, (scores, probabilities(head.start[...]), probabilities(head.end[...]))
        )

    frames = jnp.asarray(frames)
    jax.block_until_ready(run(queries, frames))
    begun = time.perf_counter()
    jax.block_until_ready(run(queries, frames))
    return time.perf_counter() - begun


def measure(queries):
    """(seconds to encode, seconds to rank, MB of memory at most)."""
    vectors, encoding = encode(queries)
    ranking = rank(vectors, random_frames(CLIPS, np.float32))
    return encoding, ranking, peak_memory()


def compare(queries):
    """Seconds a query: of ours, of all spans of the best clips, of all spans of all clips."""
    frames = random_frames(CLIPS, np.float32)
    vectors = random_queries(queries)
    ours = rank(vectors, frames) / queries
    few = vectors[:FEW]
    of_best = search_plainly(few, frames, SETTINGS.top_clips) / FEW
    return ours, of_best, search_plainly(few, frames, CLIPS) / FEW


def measure_corpus(clips):
    """(seconds to rank, MB of memory at most) in a corpus in bfloat16."""
    return rank(random_queries(MORE), random_frames(clips, jnp.bfloat16)), peak_memory()


def peak_memory():
    """Of this process, in MB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def free_memory():
    """Of this machine, in bytes."""
    content = pathlib.Path("/proc/meminfo").read_text()
    return int(re.search(r"MemAvailable:\s+(\d+) kB", content)[1]) * 1024


def print_million():
    """What a million clips take, reckoned from shapes alone."""
    clip = FRAMES * WIDTH * 2
    scores = ranking.QUERY_BLOCK * ranking.CLIP_BLOCK * FRAMES * 4
    blocks = scores + 2 * ranking.CLIP_BLOCK * FRAMES * WIDTH * 4
    looked_up = np.prod(ranking.LOOKUP_BLOCK) * clip
    total = 1e6 * clip + blocks + looked_up
    print(
        f"On paper: 1,000,000 clips take {1e6 * clip / 1e9:.1f} GB in bfloat16, blocks of queries "
        f"and clips {(blocks + looked_up) / 1e9:.2f} GB: {100 * total / GPU_MEMORY:.0f}% of "
        f"{GPU_MEMORY / 1e9:.0f} GB."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=512, help="to encode and rank")
    count = parser.parse_args().queries

    def alone(function, *arguments):
        # A process of its own for each, since peak memory never falls.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(function, arguments)

    print(f"{jax.devices()[0].device_kind}; {CLIPS:,} clips of {FRAMES} frames, float32")
    encoding, ranking, memory = alone(measure, count)
    print(f"encoding {count:,} queries {encoding:8.1f} s {count / encoding:9,.1f} queries/s")
    print(f"ranking  {count:,} queries {ranking:8.1f} s {count / ranking:9,.1f} queries/s")
    if count != 10_000:
        expected = (encoding + ranking) / count * 10_000
        print(f"extrapolated, 10,000 queries would take {expected:,.0f} s")
    print(f"peak memory of both {memory:,.0f} MB", flush=True)
    ours, of_best, of_all = alone(compare, min(count, ranking.QUERY_BLOCK))
    print(f"ranking, a query             {1e3 * ours:9.1f} ms")
    for name, value in ((f"best {SETTINGS.top_clips}", of_best), ("all", of_all)):
        print(
            f"all F x F spans of {name:<9} {1e3 * value:9.1f} ms {value / ours:6.1f} times as long "
            f"({FEW} queries)"
        )
    print(f"\nbfloat16, {MORE} queries\n   clips  ms / query  clips x queries / s  peak memory")
    for clips in CORPORA:
        if clips == CORPORA[-1] and free_memory() < ENOUGH_MEMORY:
            print(f"{clips:8,d}  left out: less than {ENOUGH_MEMORY / 1e9:.0f} GB are free")
            continue
        seconds, memory = alone(measure_corpus, clips)
        print(
            f"{clips:8,d} {1e3 * seconds / MORE:11.1f} {clips * MORE / seconds:20,.0f} "
            f"{memory:9,.0f} MB",
            flush=True,
        )
    print_million()


if __name__ == "__main__":
    main()
