"""Cost of a full-size update on TPUs and GPUs that are not here, by their compilers.

    pip install --no-deps -r requirements-topologies.txt
    python -m benchmarks.topologies
    python -m benchmarks.topologies --topologies=v5e-16,h100-8 --tasks=mlm --largest=20

The two programs of a step are compiled at the published batch for each topology, one after the
other, and nothing is run: XLA's compilers need no accelerator. One makes a task's gradients, the
other updates the parameters and is the same for all tasks. All figures are per chip, of both
programs together.

  memory   of the program that takes more, with the moments that lie beside it, of the chip's
  cycles   the TPU compiler's own estimates, loops included, without collectives, as milliseconds at
           the chip's clock; GPUs' compiler gives none
  links    time that all collectives would take at the published speed of all links
  floor    useful operations at the chip's peak, then all arguments and results once through memory
  MFU      useful operations at the chip's peak, divided by the cycles: an upper bound
  hours    of the recipe's updates by the ratios of the tasks, with cycles and links one after the
           other
  useful, executed   operations of matrix products without padding and with it

A compilation takes minutes of one core, and 2 to 4 GB.
"""

import argparse
import ast
import collections
import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import step
from benchmarks.measuring import setting
from benchmarks.topologies.chips import TOPOLOGIES, Chip, Topology
from benchmarks.topologies.hlo import Collective, Compiled
from benchmarks.topologies.products import executed_flops
from configs import pretrain
from data.config import Config
from data.errors import InputError
from data.pipeline import packing
from hero_jax import sharding
from hero_jax.tasks.registry import make_tasks
from hero_jax.training import flops
from hero_jax.training.step import Program

# Bytes that pass a chip's links, for each byte of the result, on very many chips.
PASSES = {"all-reduce": 2}


def published_batch(config: Config) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, int]]:
    """Returns shapes of an update's batches, and their counts; sets numbers of rows in the config.

    The clips have the lengths of television's, and there are as many rows as they fill on average.
    """
    # Lengths do not depend on the features, which would take half a gigabyte.
    narrow = config.copy_and_resolve_references()
    narrow.model.feature_size = 1
    clips = step.make_clips(narrow)
    _, counts = step.make_batch(clips, narrow, packed=True)
    block = narrow.batch
    frames = [[np.array([len(clip.frame_features)]) for clip in group] for group in clips]
    block.update(
        rows_per_group=round(counts["filled_slots"] / block.groups / block.row_length),
        frame_rows_per_group=round(
            np.mean(
                [
                    step.fewest_rows(group, block.frame_row_length or block.max_frames)
                    for group in frames
                ]
            )
        ),
    )
    config.batch.update(block)
    arrays = packing.empty_batch(1, block, 1, step.tokens_of(config).pad)
    rounds, shapes = block.accumulation, {}
    for name, array in arrays.items():
        shape = [rounds, block.groups, *array.shape[1:]]
        if name == "frame_features":
            shape[-1] = config.model.feature_size
        shapes[name] = jax.ShapeDtypeStruct(shape, array.dtype)
    return shapes, {name: rounds * count for name, count in counts.items()}


def divide(config: Config, chips: int) -> None:
    """Sets smaller groups for more chips than groups of an update, as docs/devices.md says."""
    batch = config.batch
    parts = chips // (batch.groups * batch.accumulation)
    if parts > 1:
        config.mfm_nce.candidates = str(batch.clips_per_group)
        batch.update(groups=batch.groups * parts, clips_per_group=batch.clips_per_group // parts)


def link_seconds(collectives: Sequence[Collective], chip: Chip) -> float:
    """Returns the seconds that collectives take at the published speed of all links."""
    return sum(PASSES.get(c.kind, 1) * c.bytes for c in collectives) / chip.links


@dataclasses.dataclass(frozen=True)
class CompiledPart:
    """One of the compiled programs of a step.

    Attributes:
      read: its text, read.
      memory: bytes of its arguments, results and temporary arrays, and of what lies beside them.
      passed: bytes of its arguments and results, which pass the chip's memory once.
    """

    read: Compiled
    memory: float
    passed: float

    @classmethod
    def of(cls, compiled: jax.stages.Compiled, beside: float = 0) -> "CompiledPart":
        """Reads a compiled program, while which so many bytes of other arrays are in memory."""
        memory: Any = compiled.memory_analysis()
        passed = memory.argument_size_in_bytes + memory.output_size_in_bytes
        # Results may lie where arguments were that are donated.
        total = passed + memory.temp_size_in_bytes - memory.alias_size_in_bytes
        return cls(Compiled(compiled.as_text() or ""), total + beside, passed)


def bytes_of_moments(program: Program) -> int:
    """Returns the bytes of the optimizer's moments on a chip."""
    adam = program.abstract_state().opt_state[1]
    arrays = jax.tree.leaves((adam.mu, adam.nu))
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in arrays)


def print_report(
    title: str,
    chip: Chip,
    chips: int,
    parts: Sequence[CompiledPart],
    useful: float,
    executed: float,
) -> float | None:
    """Prints the figures of one task on one topology.

    Args:
      parts: gradients and update, as they are in memory.

    Returns:
      The milliseconds of a step by the compiler's estimate and the links' speed, None if the
      compiler makes no estimate.
    """
    cycles = sum((collections.Counter(part.read.cycles()) for part in parts), collections.Counter())
    collectives = [one for part in parts for one in part.read.collectives()]
    floor = useful / chips / chip.flops + sum(part.passed for part in parts) / chip.bandwidth
    links = link_seconds(collectives, chip)
    memory = max(part.memory for part in parts)
    print(f"\n{title}: analysis, not measured")
    print(f"  memory    {memory / 2**30:7.2f} GiB of {chip.memory / 2**30:.1f}")
    if chip.clock:
        seconds = sum(cycles.values()) / chip.clock
        bound = useful / chips / chip.flops / seconds
        print(f"  cycles    {1e3 * seconds:7.2f} ms; MFU at most {100 * bound:.1f}%")
        for kind, count in sorted(cycles.items(), key=lambda item: -item[1]):
            print(f"      {kind:<22} {1e3 * count / chip.clock:7.2f} ms")
    print(f"  links     {1e3 * links:7.2f} ms")
    print(f"  floor     {1e3 * floor:7.2f} ms")
    print(f"  useful    {useful / chips / 1e12:7.3f} TFLOP, executed {executed / chips / 1e12:.3f}")
    print_collectives(collectives)
    if loops := sum(part.read.open_loops for part in parts):
        print(f"  not counted: {loops} loop(s) of an open number of rounds")
    return 1e3 * (seconds + links) if chip.clock else None


def print_collectives(collectives: Sequence[Collective]) -> None:
    """Prints a line for each kind of collective and dtype."""
    groups: dict[tuple[str, str], list[Collective]] = {}
    for one in collectives:
        dtypes = "+".join(sorted({dtype for dtype, _ in one.arrays}))
        groups.setdefault((one.kind, dtypes), []).append(one)
    for (kind, dtypes), some in sorted(groups.items()):
        megabytes = sum(one.bytes for one in some) / 1e6
        times = sum(one.times for one in some)
        overlapping = sum(one.times for one in some if one.overlaps)
        print(
            f"  {kind:<19} {dtypes:<9} {megabytes:9.2f} MB in {times} operations, {overlapping} of "
            "them beside other work"
        )


def analyse(
    name: str, topology: Topology, config: Config, tasks: Sequence[str], largest: int
) -> None:
    """Compiles tasks for a topology; prints a report of each, and the hours of a run."""
    devices = topology.devices()
    config = config.copy_and_resolve_references()
    divide(config, len(devices))
    shapes, counts = published_batch(config)
    mesh = sharding.make_mesh(config.mesh, devices)
    program = Program(config, make_tasks(config, step.tokens_of(config)), mesh)
    chip = topology.chip
    update = CompiledPart.of(program.lower_update().compile())
    milliseconds: dict[str, float] = {}
    for task in tasks:
        begun = time.perf_counter()
        gradients = CompiledPart.of(
            program.lower(task, shapes).compile(), bytes_of_moments(program)
        )
        title = f"{name}, {task} (compiled in {time.perf_counter() - begun:.0f} s)"
        useful = flops.training_flops(config, counts, [program.tasks[task]])
        executed = executed_flops(program, task, shapes)
        parts = gradients, update
        one = print_report(title, chip, len(devices), parts, useful, executed)
        if one is not None:
            milliseconds[task] = one
        for cycles, times, kind, what in gradients.read.largest(largest):
            shown = 1e3 * cycles / (chip.clock or np.nan)
            print(f"    {shown:6.2f} ms {times:3d} x  {kind:<20} {what}")
    if milliseconds:
        ratios = {task: config.tasks[task] for task in milliseconds}
        mean = sum(ratios[t] * milliseconds[t] for t in ratios) / sum(ratios.values())
        steps = config.optimizer.steps
        print(
            f"\n{name}: analysis, not measured: {mean:.2f} ms an update by the ratios of "
            f"{', '.join(ratios)}; {mean * steps / 3.6e6:.2f} hours for {steps:,} updates"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a report for each topology and task."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.topologies", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--topologies", default=",".join(TOPOLOGIES), help="default: %(default)s")
    parser.add_argument("--tasks", help="default: those that the recipe trains")
    parser.add_argument("--largest", type=int, default=0, help="list so many operations")
    parser.add_argument("--layers", type=int, help="of each transformer, to compile faster")
    parser.add_argument(
        "--settings",
        type=setting,
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="fields of the config, as batch.frame_row_length=128",
    )
    options = parser.parse_args(arguments)
    config = pretrain.get_config()
    if options.layers:
        config.model.update(cross_modal_layers=options.layers, temporal_layers=options.layers)
    for name, value in options.settings:
        try:
            config.update_from_flattened_dict({name: ast.literal_eval(value)})
        except (KeyError, TypeError, ValueError, SyntaxError):
            parser.error(f"--settings: {name}={value}: the recipe has no such field or type")
    tasks = options.tasks.split(",") if options.tasks else trained(config.tasks)
    if unknown := [task for task in tasks if task not in config.tasks]:
        parser.error(f"--tasks: {unknown[0]!r} is unknown: choose of {', '.join(config.tasks)}")
    # The machine's own accelerators are left alone.
    jax.config.update("jax_platforms", "cpu")
    for name in options.topologies.split(","):
        try:
            if name not in TOPOLOGIES:
                raise InputError(f"it is unknown: choose of {', '.join(TOPOLOGIES)}")
            analyse(name, TOPOLOGIES[name], config, tasks, options.largest)
        except InputError as error:
            print(f"\n{name}: {error}", flush=True)


def trained(ratios: Mapping[str, float]) -> list[str]:
    """Returns the tasks that a recipe trains."""
    return [name for name, ratio in ratios.items() if ratio]


if __name__ == "__main__":
    main()
