"""Speed of a full-size training step on packed rows, against one padded segment per row.

    python benchmarks/step.py
    python benchmarks/step.py --task=all --dtype=bfloat16 --groups=4 --clips=32
    python benchmarks/step.py --dtype=bfloat16 --clips=32 --largest

The clips are random and as long as television's. The second layout is the original's: every segment
and every query has a row of its own, as long as the longest. Both are trained on in one run, by the
same compiled function of the same parameters. `--largest` doubles the groups of packed clips until
memory runs out. Needs neither TensorFlow nor a data set.
"""

import argparse
import math
import pathlib
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from configs import pretrain
from data.pipeline import packing, segments
from data.synthetic import random_clip, tv_lengths
from hero_jax import sharding
from hero_jax.tasks.base import Tokens
from hero_jax.tasks.registry import make_tasks
from hero_jax.training import flops
from hero_jax.training.step import Program

# As RoBERTa numbers them.
TOKENS = Tokens(cls=0, pad=1, sep=2, mask=50264, first_word=4, end_word=50264)
METADATA = SimpleNamespace(special_ids=TOKENS)


class RowPerSegment(packing.Rows):
    """Rows that hold one segment each."""

    def place(self, lengths):
        rows = np.flatnonzero(self.segments == 0)[: len(lengths)]
        self.segments = self.segments.copy()
        self.segments[rows] = 1
        return rows * self.row_length, np.ones(len(rows), np.int32)


def make_clips(config):
    """For each group its clips, laid out as segments."""
    rng = np.random.default_rng(0)
    groups = []
    for _ in range(config.batch.groups):
        clips = [
            random_clip(
                rng,
                f"clip{number}",
                tv_lengths(rng),
                (TOKENS.first_word, TOKENS.end_word),
                config.model.feature_size,
            )
            for number in range(config.batch.clips_per_group)
        ]
        groups.append([segments.prepare(clip, 0, config.batch, METADATA) for clip in clips])
    return groups


def query_lengths(clip, choose):
    return np.array([len(words) + 1 for words, _ in choose(clip)[1]], int)


def fewest_rows(lengths, row_length):
    """How many rows it takes to place the segments of all clips of a group."""
    rows = math.ceil(sum(one.sum() for one in lengths) / row_length)
    while True:
        free = packing.Rows(rows, row_length)
        if all(free.place(one) is not None for one in lengths):
            return rows
        rows += 1


def make_batch(groups, config, packed):
    """A batch `[1, G, ...]` of all clips, and what it holds."""
    block = config.batch
    choose = packing.drawn_subtitles(config.seed, 0, block.queries_per_clip)
    segments = [[clip.lengths for clip in group] for group in groups]
    queries = [[query_lengths(clip, choose) for clip in group] for group in groups]
    if packed:
        block.rows_per_group = max(fewest_rows(one, block.row_length) for one in segments)
        block.query_rows_per_group = max(fewest_rows(one, block.row_length) for one in queries)
    else:
        block.row_length = int(max(one.max() for group in segments for one in group))
        block.rows_per_group = max(sum(map(len, group)) for group in segments)
        block.query_rows_per_group = max(sum(map(len, group)) for group in queries)
    arrays = packing.empty_batch(block.groups, block, config.model.feature_size, TOKENS.pad)
    counts = dict.fromkeys(packing.COUNTS, 0)
    for g, group in enumerate(groups):
        own = {name: array[g] for name, array in arrays.items()}
        packer = packing.GroupPacker(own, block, TOKENS, choose)
        if not packed:
            packer.rows = RowPerSegment(block.rows_per_group, block.row_length)
            packer.query_rows = RowPerSegment(block.query_rows_per_group, block.row_length)
        for clip in group:
            assert packer.add(clip)
        counts = {name: value + packer.counts[name] for name, value in counts.items()}
    if not packed:
        longest = max(one.max(initial=0) for group in queries for one in group)
        for name in ("token_ids", "position_ids", "segment_ids", "index"):
            arrays[f"query_{name}"] = arrays[f"query_{name}"][..., :longest]
    return {name: array[None] for name, array in arrays.items()}, counts


def measure(program, state, batch, task, steps):
    """(state, seconds of the median step); the first step compiles."""
    arrays = sharding.to_devices(batch, program.mesh, program.config.batch.groups, leading=1)
    times = []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        state, metrics = program.train_step(state, arrays, task)
        loss = float(metrics["loss"])
        times.append(time.perf_counter() - begun)
    assert np.isfinite(loss)
    return state, float(np.median(times[1:]))


def report(name, program, counts, batch, task, seconds, peak):
    """Prints a line of the table; returns clips a second."""
    config = program.config
    slots = batch["segment_ids"].size
    shape = "x".join(map(str, batch["segment_ids"].shape[1:]))
    used = flops.training_flops(config, counts, task) / seconds / peak
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


def compare(config, tasks, steps):
    """Both layouts, task by task."""
    program = Program(
        config, make_tasks(config, TOKENS), sharding.make_mesh(config.mesh, jax.devices()[:1])
    )
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
        print(f"packed / padded, as often as trained: {total['padded'] / total['packed']:.2f}")


def largest(config, task, steps):
    """Packed rows alone, with twice the groups each time, until they do not fit into memory."""
    peak = flops.peak_flops(config.model.dtype)
    while True:
        program = Program(
            config, make_tasks(config, TOKENS), sharding.make_mesh(config.mesh, jax.devices()[:1])
        )
        batch, counts = make_batch(make_clips(config), config, packed=True)
        try:
            _, seconds = measure(program, program.init(), batch, task, steps)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            print(f"{config.batch.groups} groups do not fit into memory")
            return
        report("packed", program, counts, batch, task, seconds, peak)
        config.batch.groups *= 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="recipe", help="a task, 'all' at once, or one by one")
    parser.add_argument("--groups", type=int, default=1)
    parser.add_argument("--clips", type=int, default=8, help="of a group")
    parser.add_argument("--row_length", type=int, default=128)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--largest", action="store_true")
    arguments = parser.parse_args()
    config = pretrain.get_config()
    config.batch.update(
        groups=arguments.groups,
        clips_per_group=arguments.clips,
        row_length=arguments.row_length,
        accumulation=1,
    )
    config.model.dtype = arguments.dtype
    print(
        f"{jax.devices()[0].device_kind}, {arguments.dtype}; memory in GB is the run's peak so far"
    )
    print(
        "layout   task      clips         rows   full  s / step   clips/s   tokens/s   MFU   memory"
    )
    trained = [name for name in config.tasks if config.tasks[name]]
    if arguments.largest:
        largest(config, "vsm" if arguments.task == "recipe" else arguments.task, arguments.steps)
    else:
        compare(
            config, trained if arguments.task == "recipe" else [arguments.task], arguments.steps
        )


if __name__ == "__main__":
    main()
