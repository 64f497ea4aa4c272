"""Speed of a full-size training step on packed rows, against one padded segment per row.

    python -m benchmarks.step
    python -m benchmarks.step --task=all --dtype=bfloat16 --groups=4 --clips=32
    python -m benchmarks.step --dtype=bfloat16 --clips=32 --largest[=GROUPS]

The clips are random, with lengths like television's. The second layout is the original's: every
segment and every query has its own row, padded to the longest. One run trains on both, with the
same compiled function and the same parameters. `--largest` doubles the groups of packed clips until
memory runs out. Needs neither TensorFlow nor a dataset.
"""

import argparse
import itertools
import math
import time
from collections.abc import Sequence
from types import SimpleNamespace

import jax
import numpy as np

from configs import pretrain
from data.config import Config
from data.pipeline import asking, packing, segments
from data.synthetic import random_clip, tv_lengths
from hero_jax import sharding
from hero_jax.tasks.base import Tokens
from hero_jax.tasks.registry import make_tasks
from hero_jax.training import flops
from hero_jax.training.state import TrainState
from hero_jax.training.step import Program

# An update of the published recipe, in groups of 32 clips.
MOST_GROUPS = 32
# The task that takes most memory.
LARGEST_TASK = "vsm"


class RowPerSegment(packing.Rows):
    """Rows that hold one segment each."""

    def place(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.flatnonzero(self.segments == 0)[: len(lengths)]
        self.segments = self.segments.copy()
        self.segments[rows] = 1
        return rows * self.row_length, np.ones(len(rows), np.int32)


def make_config(small: bool, dtype: str, groups: int, clips: int) -> Config:
    """Returns the published recipe, or that of a small model, for batches of so many clips."""
    config = pretrain.get_config()
    if small:
        pretrain.small(config)
    config.batch.update(groups=groups, clips_per_group=clips, accumulation=1)
    config.model.dtype = dtype
    return config


def trained(config: Config) -> list[str]:
    """Returns the tasks that a recipe has."""
    return [name for name, ratio in config.tasks.items() if ratio]


def tokens_of(config: Config) -> Tokens:
    """Returns the ids of the tokens in RoBERTa's order, for the vocabulary of the config."""
    mask = config.model.vocab_size - 1
    return Tokens(cls=0, pad=1, sep=2, mask=mask, first_word=4, end_word=mask)


def make_clips(config: Config) -> list[list[segments.Prepared]]:
    """Returns the clips of each group, laid out as segments."""
    rng, tokens = np.random.default_rng(0), tokens_of(config)
    metadata = SimpleNamespace(special_ids=tokens, seconds_per_feature=1.5)
    # Random draws depend on a clip's number, and VSM takes clips with the same one for copies.
    groups, numbers = [], itertools.count()
    for _ in range(config.batch.groups):
        clips = [
            random_clip(
                rng,
                f"clip{number}",
                tv_lengths(rng),
                (tokens.first_word, tokens.end_word),
                config.model.feature_size,
            )
            for number in range(config.batch.clips_per_group)
        ]
        groups.append(
            [segments.prepare(clip, next(numbers), config.batch, metadata) for clip in clips]
        )
    return groups


def query_lengths(clip, choose) -> np.ndarray:
    """Returns the numbers of tokens of a clip's queries."""
    return np.array([len(words) + 1 for words, _ in choose(clip)[1]], int)


def fewest_rows(lengths: Sequence[np.ndarray], row_length: int) -> int:
    """Returns the number of rows that all segments of a group's clips fit into."""
    rows = math.ceil(sum(of_clip.sum() for of_clip in lengths) / row_length)
    while True:
        free = packing.Rows(rows, row_length)
        if all(free.place(of_clip) is not None for of_clip in lengths):
            return rows
        rows += 1


def make_batch(
    groups: list[list], config: Config, packed: bool
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Returns a batch `[1, G, ...]` of all clips and its counts; sets its sizes in the config."""
    block, tokens = config.batch, tokens_of(config)
    choose = asking.drawn_subtitles(config.seed, 0, block.queries_per_clip)
    lengths = [[clip.lengths for clip in group] for group in groups]
    frames = [[np.array([len(clip.frame_features)]) for clip in group] for group in groups]
    queries = [[query_lengths(clip, choose) for clip in group] for group in groups]
    if packed:
        block.rows_per_group = max(fewest_rows(x, block.row_length) for x in lengths)
        block.query_rows_per_group = max(fewest_rows(x, block.row_length) for x in queries)
        block.frame_rows_per_group = max(fewest_rows(x, block.max_frames) for x in frames)
    else:
        block.row_length = int(max(x.max() for group in lengths for x in group))
        block.rows_per_group = max(sum(map(len, group)) for group in lengths)
        block.query_rows_per_group = max(sum(map(len, group)) for group in queries)
    arrays = packing.empty_batch(block.groups, block, config.model.feature_size, tokens.pad)
    counts = dict.fromkeys(packing.COUNTS, 0)
    for g, group in enumerate(groups):
        of_group = {name: array[g] for name, array in arrays.items()}
        packer = packing.GroupPacker(of_group, block, tokens, choose)
        if not packed:
            packer.rows = RowPerSegment(block.rows_per_group, block.row_length)
            packer.query_rows.rows = RowPerSegment(block.query_rows_per_group, block.row_length)
        for clip in group:
            assert packer.add(clip)
        counts = {name: value + packer.counts[name] for name, value in counts.items()}
    if not packed:
        longest = max(x.max(initial=0) for group in queries for x in group)
        for name in ("token_ids", "position_ids", "segment_ids", "index"):
            arrays[f"query_{name}"] = arrays[f"query_{name}"][..., :longest]
    return {name: array[None] for name, array in arrays.items()}, counts


def measure(
    program: Program, state: TrainState, batch: dict[str, np.ndarray], task: str, steps: int
) -> tuple[TrainState, float]:
    """Returns the state and the seconds of the median step; the first step compiles."""
    arrays = sharding.to_devices(batch, program.mesh, program.config.batch.groups, leading=1)
    times = []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        state, metrics = program.train_step(state, arrays, task)
        loss = float(metrics["loss"])
        times.append(time.perf_counter() - begun)
    assert np.isfinite(loss)
    return state, float(np.median(times[1:]))


def report(
    name: str,
    program: Program,
    counts: dict[str, int],
    batch: dict[str, np.ndarray],
    task: str,
    seconds: float,
    peak: float,
) -> float:
    """Prints a line of the table; returns clips per second."""
    tasks = program.tasks.values() if task == "all" else [program.tasks[task]]
    slots = batch["segment_ids"].size
    shape = "x".join(map(str, batch["segment_ids"].shape[1:]))
    used = flops.training_flops(program.config, counts, tasks) / seconds / peak
    stats = jax.devices()[0].memory_stats() or {}
    memory = stats.get("peak_bytes_in_use", math.nan) / 2**30
    rate = counts["clips"] / seconds
    print(
        f"{name:<8} {task:<8} {counts['clips']:6d} {shape:>12} "
        f"{100 * counts['filled_slots'] / slots:5.1f}% {seconds:9.3f} {rate:9.2f} "
        f"{counts['tokens'] / seconds:10,.0f} {100 * used:5.1f}% {memory:8.1f}",
        flush=True,
    )
    return rate


def make_program(config: Config) -> Program:
    """Returns the program of all tasks on one device."""
    mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
    return Program(config, make_tasks(config, tokens_of(config)), mesh)


def compare(config: Config, tasks: Sequence[str], steps: int) -> None:
    """Measures both layouts, task by task."""
    program = make_program(config)
    state, peak = program.init(), flops.peak_flops(config.model.dtype)
    groups = make_clips(config)
    batches = {
        name: make_batch(groups, config.copy_and_resolve_references(), name == "packed")
        for name in ("packed", "padded")
    }
    shares = {task: config.tasks[task] for task in tasks} if len(tasks) > 1 else {tasks[0]: 1.0}
    total = dict.fromkeys(batches, 0.0)
    for task in tasks:
        rates = {}
        for name, (batch, counts) in batches.items():
            state, seconds = measure(program, state, batch, task, steps)
            rates[name] = report(name, program, counts, batch, task, seconds, peak)
            total[name] += shares[task] * seconds
        print(f"packed / padded, {task}: {rates['packed'] / rates['padded']:.2f}")
    if len(tasks) > 1:
        print(
            f"packed / padded, all tasks by their ratios: {total['padded'] / total['packed']:.2f}"
        )


def largest(config: Config, task: str, steps: int, at_most: int) -> int:
    """Measures packed rows, doubling the groups until they do not fit into memory.

    Returns:
      The most groups that do, at most `at_most`; 0 if those of the config do not.
    """
    peak, fitting = flops.peak_flops(config.model.dtype), 0
    while config.batch.groups <= at_most:
        program = make_program(config)
        batch, counts = make_batch(make_clips(config), config, packed=True)
        try:
            _, seconds = measure(program, program.init(), batch, task, steps)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            print(f"{config.batch.groups} groups do not fit into memory", flush=True)
            break
        report("packed", program, counts, batch, task, seconds, peak)
        fitting, config.batch.groups = config.batch.groups, 2 * config.batch.groups
    return fitting


def print_heads(config: Config) -> None:
    """Prints the device, and the heads of the table."""
    device = jax.devices()[0].device_kind
    print(f"{device}, {config.model.dtype}; memory in GB is the run's peak so far")
    print(
        "layout   task      clips         rows   full  s / step   clips/s   tokens/s   MFU   memory"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--task", default="recipe", help="a task, or 'all' in one step; default: one after another"
    )
    parser.add_argument("--groups", type=int, default=1)
    parser.add_argument("--clips", type=int, default=8, help="in a group")
    parser.add_argument("--row_length", type=int, default=128)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument(
        "--largest",
        type=int,
        nargs="?",
        const=MOST_GROUPS,
        metavar="GROUPS",
        help="find the largest batch, of at most so many groups; default: %(const)s",
    )
    parser.add_argument("--small", action="store_true", help="a small model, to try the command")
    options = parser.parse_args(arguments)
    config = make_config(options.small, options.dtype, options.groups, options.clips)
    config.batch.row_length = options.row_length
    print_heads(config)
    if options.largest:
        task = LARGEST_TASK if options.task == "recipe" else options.task
        largest(config, task, options.steps, options.largest)
    else:
        tasks = trained(config) if options.task == "recipe" else [options.task]
        compare(config, tasks, options.steps)


if __name__ == "__main__":
    main()
