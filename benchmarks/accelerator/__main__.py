"""Figures of training at full size on an accelerator, in one command.

    python -m benchmarks.accelerator [--only largest tasks ...]

largest    packed groups of 32 clips, doubled until the memory is full, for the task that takes most
tasks      each task on the largest batch that fitted, or on --groups: speed, MFU, memory, and the
           ten largest items of a step's profile, by the code that they come from
attention  `benchmarks.accelerator.attention`
dropout    `benchmarks.dropout`
layouts    packed rows against padded ones, `benchmarks.step`

What is printed first matters most: the command may be stopped at any time. On a GPU, operations
have names of their code with XLA_FLAGS=--xla_gpu_enable_command_buffer= alone.
"""

import argparse
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks import dropout, step
from benchmarks.accelerator import attention
from benchmarks.accelerator.operations import largest_operations
from benchmarks.measuring import seconds_of
from data.config import Config
from hero_jax import sharding
from hero_jax.training import flops

PARTS = ("largest", "tasks", "attention", "dropout", "layouts")


def measure_tasks(config: Config, steps: int) -> None:
    """Prints the speed of each task and the largest items of its profile."""
    program, peak = step.make_program(config), flops.peak_flops(config.model.dtype)
    batch, counts = step.make_batch(step.make_clips(config), config, packed=True)
    arrays = sharding.to_devices(batch, program.mesh, config.batch.groups, leading=1)
    state = program.init()
    step.print_heads(config)
    for task in step.trained(config):
        update = jax.jit(
            lambda state, arrays, task=task: program.train_step(state, arrays, task),
            donate_argnums=0,
        )
        compiled = update.lower(state, arrays).compile()

        def call(compiled=compiled):
            nonlocal state
            state, metrics = compiled(state, arrays)
            return jax.block_until_ready(metrics["loss"])

        call()
        seconds = float(np.median([seconds_of(call) for _ in range(steps)]))
        step.report("packed", program, counts, batch, task, seconds, peak)
        for item in largest_operations(compiled, call):
            shown = f"{100 * item.share:5.1f}% {1000 * item.seconds:9.3f} ms"
            print(f"    {shown}  {item.name}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--groups", type=int, default=1, help="groups to begin with")
    parser.add_argument("--at_most", type=int, default=step.MOST_GROUPS, help="groups to end with")
    parser.add_argument("--clips", type=int, default=32, help="in a group")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a small model, to try the command")
    options = parser.parse_args(arguments)
    config = step.make_config(options.small, options.dtype, options.groups, options.clips)
    layers = [f"--dtype={options.dtype}", *(["--rows=1"] if options.small else [])]
    if "largest" in options.only:
        step.print_heads(config)
        fitting = step.largest(config, step.LARGEST_TASK, options.steps, options.at_most)
        config.batch.groups = max(fitting, 1)
    if "tasks" in options.only:
        measure_tasks(config, options.steps)
    if "attention" in options.only:
        attention.main(layers)
    if "dropout" in options.only:
        dropout.main(layers)
    if "layouts" in options.only:
        config.batch.groups = 1
        step.print_heads(config)
        step.compare(config, step.trained(config), options.steps)


if __name__ == "__main__":
    main()
