"""Queries per second of moment retrieval in a corpus, and its memory.

    python -m benchmarks.retrieval [--queries=10000]

Encodes random queries of about 15 tokens with the full-size model in float32, and ranks them
against random clips of 60 frames of width 768: 2,000 clips in float32, beside the same search over
every span of every clip; then larger and larger corpora in bfloat16. The largest corpus takes 9.2
GB and is left out if less than 16 GB are free. Compilation is not counted. Needs no dataset.
"""

import argparse
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from numpy.typing import DTypeLike

from benchmarks.measuring import in_new_process, memory_field, peak_memory
from configs import pretrain
from data.config import Config
from data.pipeline import packing
from hero_jax import sharding
from hero_jax.models.heads import SpanHead, clip_scores
from hero_jax.models.hero import HERO
from hero_jax.retrieval import ranking
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.tasks.base import Tokens

FRAMES, WIDTH = 60, 768
# The published settings for TVR.
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
QUERIES_OF_ALL_SPANS = 8
QUERIES_IN_BFLOAT16 = 64
CORPORA = (1_000, 10_000, 100_000)  # clips
LARGE = 100_000  # clips, a corpus that takes this memory, in bytes
ENOUGH_MEMORY = 16e9
ALIGNMENT = 64
GPU_MEMORY = 140e9


def model_config(small: bool = False) -> Config:
    """Returns the settings of a full-size or a small model, in float32."""
    config = pretrain.get_config()
    if small:
        pretrain.small(config)
    config.model.update(dtype="float32")
    return config.model


def query_batches(count: int, vocab_size: int) -> list[dict[str, np.ndarray]]:
    """Returns packed rows of random queries, each batch with one group."""
    rng = np.random.default_rng(0)
    # RoBERTa's order: special tokens first, and the mask last.
    tokens = Tokens(0, 1, 2, mask=vocab_size - 1, first_word=4, end_word=vocab_size - 1)
    lengths = np.clip(np.rint(rng.normal(14, 4, count)), 3, 40).astype(int)
    words = [rng.integers(tokens.first_word, tokens.end_word, length) for length in lengths]
    places = QUERY_ROWS.query_rows_per_group * QUERY_ROWS.row_length // 4
    batches, left = [], words[::-1]
    while left:
        arrays = packing.query_arrays(1, QUERY_ROWS, places, tokens.pad)
        group = {name: array[0] for name, array in arrays.items()}
        packer = packing.QueryRows(group, QUERY_ROWS, tokens)
        while left and packer.add([left[-1]]):
            left.pop()
        batches.append(arrays)
    return batches


def encode(count: int, config: Config) -> tuple[np.ndarray, float]:
    """Returns query vectors `[N, H]` and the seconds to encode them."""
    graphdef, params = nnx.split(HERO(config, rngs=nnx.Rngs(0)))

    @jax.jit
    def run(params, arrays):
        queries = {name.removeprefix("query_"): array for name, array in arrays.items()}
        queries |= {name: arrays[name] for name in ("query_index", "query_mask")}
        return nnx.merge(graphdef, params).encode_queries(queries)

    batches = query_batches(count, config.vocab_size)
    run(params, batches[0]).block_until_ready()
    begun = time.perf_counter()
    vectors = [np.asarray(run(params, arrays))[arrays["query_mask"]] for arrays in batches]
    return np.concatenate(vectors), time.perf_counter() - begun


def random_frames(count: int, width: int, dtype: DTypeLike) -> np.ndarray:
    """Returns `[count, FRAMES, width]`: up to 1,000 random clips, repeated with frames rotated."""
    rng = np.random.default_rng(1)
    clips = rng.standard_normal((min(count, 1000), FRAMES, width), np.float32).astype(dtype)
    size = count * FRAMES * width * clips.itemsize
    # On a CPU, JAX uses an aligned array in place and copies any other.
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    frames = memory[first : first + size].view(dtype).reshape(count, FRAMES, width)
    for first in range(0, count, len(clips)):
        rotated = np.roll(clips, first // len(clips), axis=1)
        frames[first : first + len(clips)] = rotated[: count - first]
    return frames


def random_queries(count: int, width: int) -> np.ndarray:
    """Returns `[count, width]`."""
    return np.random.default_rng(2).standard_normal((count, width), np.float32)


def rank(queries: np.ndarray, frames: np.ndarray, config: Config) -> float:
    """Returns the seconds of ranking all queries in these clips, on one device."""
    head = SpanHead(config, rngs=nnx.Rngs(0))
    mesh = sharding.make_mesh(pretrain.get_config().mesh, jax.devices()[:1])
    corpus = ranking.Corpus(frames, np.full(len(frames), FRAMES), mesh)
    clips_of_queries = np.arange(len(queries)) % len(frames)
    block = min(ranking.QUERY_BLOCK, len(queries))
    ranking.rank(head, queries[:block], corpus, SETTINGS, clips_of_queries[:block])
    begun = time.perf_counter()
    ranking.rank(head, queries, corpus, SETTINGS, clips_of_queries)
    return time.perf_counter() - begun


def search_all_spans(
    queries: np.ndarray, frames: np.ndarray, config: Config, top_clips: int
) -> float:
    """Returns the seconds of scoring all F x F spans of the best clips and sorting them.

    Span logits are computed for all clips at once.
    """
    head = SpanHead(config, rngs=nnx.Rngs(0))
    top_clips = min(top_clips, len(frames))
    valid = jnp.ones(frames.shape[:2], bool)
    widths = np.arange(FRAMES) - np.arange(FRAMES)[:, None]
    allowed = (widths >= SETTINGS.min_span) & (widths < SETTINGS.max_span)
    near = np.abs(widths) <= 2

    @jax.jit
    def run(queries, frames):
        scores = clip_scores(queries, frames, valid)
        similarity = jnp.einsum("nh,cfh->ncf", head.query(queries), frames)

        def probabilities(kernel):
            # The convolution as a product with a banded matrix.
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

    on_device = jnp.asarray(frames)
    jax.block_until_ready(run(queries, on_device))
    begun = time.perf_counter()
    jax.block_until_ready(run(queries, on_device))
    return time.perf_counter() - begun


def measure(queries: int, clips: int, small: bool) -> tuple[float, float, float]:
    """Returns the seconds to encode, the seconds to rank, and the peak memory in MB."""
    config = model_config(small)
    vectors, encoding = encode(queries, config)
    frames = random_frames(clips, config.hidden_size, np.float32)
    return encoding, rank(vectors, frames, config), peak_memory()


def compare(queries: int, clips: int, small: bool) -> tuple[float, float, float]:
    """Returns seconds per query: ours, all spans of the best clips, all spans of all clips."""
    config = model_config(small)
    frames = random_frames(clips, config.hidden_size, np.float32)
    vectors = random_queries(queries, config.hidden_size)
    ours = rank(vectors, frames, config) / queries
    few = vectors[:QUERIES_OF_ALL_SPANS]
    of_best = search_all_spans(few, frames, config, SETTINGS.top_clips) / len(few)
    return ours, of_best, search_all_spans(few, frames, config, clips) / len(few)


def measure_corpus(clips: int, small: bool) -> tuple[float, float]:
    """Returns the seconds to rank in a corpus in bfloat16, and the peak memory in MB."""
    config = model_config(small)
    queries = random_queries(QUERIES_IN_BFLOAT16, config.hidden_size)
    frames = random_frames(clips, config.hidden_size, jnp.bfloat16)
    return rank(queries, frames, config), peak_memory()


def print_million() -> None:
    """Prints the memory of a million clips at full size, computed from shapes alone."""
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


def print_search(queries: int, clips: int, small: bool) -> None:
    """Measures encoding and ranking in float32, and prints it beside searches of all spans."""
    encoding, ranked, memory = in_new_process(measure, queries, clips, small)
    print(f"encoding {queries:,} queries {encoding:8.1f} s {queries / encoding:9,.1f} queries/s")
    print(f"ranking  {queries:,} queries {ranked:8.1f} s {queries / ranked:9,.1f} queries/s")
    if queries != 10_000:
        expected = (encoding + ranked) / queries * 10_000
        print(f"extrapolated, 10,000 queries would take {expected:,.0f} s")
    print(f"peak memory of both {memory:,.0f} MB", flush=True)
    compared = min(queries, ranking.QUERY_BLOCK)
    ours, of_best, of_all = in_new_process(compare, compared, clips, small)
    print(f"ranking, a query             {1e3 * ours:9.1f} ms")
    for name, value in ((f"best {SETTINGS.top_clips}", of_best), ("all", of_all)):
        print(
            f"all F x F spans of {name:<9} {1e3 * value:9.1f} ms {value / ours:6.1f} times as long "
            f"({min(compared, QUERIES_OF_ALL_SPANS)} queries)"
        )


def print_corpora(corpora: Sequence[int], small: bool) -> None:
    """Measures ranking in larger and larger corpora in bfloat16, and prints a table."""
    print(f"\nbfloat16, {QUERIES_IN_BFLOAT16} queries")
    print("   clips  ms / query  clips x queries / s  peak memory")
    for clips in corpora:
        if clips >= LARGE and memory_field("/proc/meminfo", "MemAvailable") < ENOUGH_MEMORY:
            print(f"{clips:8,d}  left out: less than {ENOUGH_MEMORY / 1e9:.0f} GB are free")
            continue
        seconds, memory = in_new_process(measure_corpus, clips, small)
        print(
            f"{clips:8,d} {1e3 * seconds / QUERIES_IN_BFLOAT16:11.1f} "
            f"{clips * QUERIES_IN_BFLOAT16 / seconds:20,.0f} {memory:9,.0f} MB",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--queries", type=int, default=512, help="to encode and rank")
    parser.add_argument("--clips", type=int, default=2_000, help="in float32")
    parser.add_argument(
        "--corpora", type=int, nargs="*", default=CORPORA, help="numbers of clips in bfloat16"
    )
    parser.add_argument("--small", action="store_true", help="a small model, to try the command")
    options = parser.parse_args(arguments)
    print(f"{jax.devices()[0].device_kind}; {options.clips:,} clips of {FRAMES} frames, float32")
    print_search(options.queries, options.clips, options.small)
    print_corpora(options.corpora, options.small)
    print_million()


if __name__ == "__main__":
    main()
