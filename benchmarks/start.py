"""Seconds from the start of a process to its first update, to all tasks, and of an evaluation.

    python -m benchmarks.start --data=datasets [--model=shapes] [--tree=DIR] [--repeats=1]

Each row is a process of its own: training with an empty cache of compiled programs (first) and with
the one that the first filled (second), until every task has had an update, then the evaluation of
its checkpoint, again twice. Prints seconds of the clock and of the processor. `shapes` trains the
preset of that name on the dataset `shapes`; `sentences` trains the model of `benchmarks.sentences`
on its dataset. `--tree` measures another checkout of this repository.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from ml_collections import ConfigDict

from benchmarks.measuring import cpu_seconds
from benchmarks.sentences import SETTINGS
from configs import pretrain
from data.command import path_argument
from hero_jax.training.step import tasks_ahead

ROOT = pathlib.Path(__file__).parents[1]
MODELS = ("shapes", "sentences")
# Seeds that are searched for one whose first updates are of different tasks.
SEEDS = 1_000
# Seconds of the clock, and of the processor.
Seconds = tuple[float, float]


def config_of(model: str, data: pathlib.Path) -> tuple[str, dict[str, object]]:
    """Returns the flag `--config` of a model, and the config fields of a short run of it."""
    preset = "shapes" if model == "shapes" else None
    config = pretrain.get_config(preset) if preset else pretrain.get_config()
    fields = {} if preset else dict(SETTINGS)
    fields |= {"data.dir": str(data), "data.name": model, "log_every": 1}
    config.update_from_flattened_dict(fields)
    steps = sum(1 for ratio in config.tasks.values() if ratio)
    fields |= {"seed": varied_seed(config, steps), "optimizer.steps": steps}
    fields |= {"optimizer.warmup_steps": 1, "save_every": steps}
    return "--config=configs/pretrain.py" + (f":{preset}" if preset else ""), fields


def varied_seed(config: ConfigDict, steps: int) -> int:
    """Returns a seed with which each of the first updates is of another task."""
    for seed in range(SEEDS):
        config.seed, config.optimizer.steps = seed, steps
        if len(tasks_ahead(config, 0)) == steps:
            return seed
    raise ValueError(f"no seed below {SEEDS} draws all tasks in {steps} updates")


def run(
    flags: Sequence[str], cache: pathlib.Path, tree: pathlib.Path = ROOT
) -> tuple[dict[int, Seconds], Seconds]:
    """Runs main.py; returns the seconds to each reported step, and to the end.

    Args:
      flags: of main.py.
      cache: folder of compiled programs.
      tree: folder of main.py.
    """
    environment = {**os.environ, "HERO_JAX_CACHE": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    begun, before = time.perf_counter(), _ended()
    process = subprocess.Popen(
        [sys.executable, "main.py", *flags],
        **{"cwd": tree, "env": environment, "text": True},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    steps: dict[int, Seconds] = {}
    assert process.stderr is not None
    line = ""
    for line in process.stderr:
        if step := re.match(r"step (\d+): ", line):
            steps[int(step[1])] = time.perf_counter() - begun, cpu_seconds(process.pid)
    if process.wait():
        reason = line.strip().removeprefix("error: ")
        sys.exit(f"error: main.py ended with status {process.returncode}: {reason}")
    return steps, (time.perf_counter() - begun, _ended() - before)


def _ended() -> float:
    """Returns the seconds of the processor of all processes that were started here and ended."""
    times = os.times()
    return times.children_user + times.children_system


def measure(
    config: str, fields: dict[str, object], tree: pathlib.Path = ROOT
) -> dict[str, Seconds]:
    """Returns the seconds of each row of the table.

    Args:
      config, fields: as of `config_of`.
      tree: folder of main.py.
    """
    rows: dict[str, Seconds] = {}
    flags = [config, *(f"--config.{name}={value}" for name, value in fields.items())]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for time_of in ("first", "second"):
            workdir = [f"--workdir={folder / time_of}"]
            steps, _ = run([*flags, *workdir], folder / "cache", tree)
            rows[f"first update, {time_of} time"] = steps[1]
            rows[f"all tasks, {time_of} time"] = steps[max(steps)]
        for time_of in ("first", "second"):
            cache = folder / "cache of evaluation"
            _, rows[f"evaluation, {time_of} time"] = run(
                ["--mode=evaluate", *flags, f"--workdir={folder / 'first'}"], cache, tree
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", type=path_argument, required=True, help="folder of datasets")
    parser.add_argument("--model", choices=MODELS, default="shapes")
    parser.add_argument("--tree", type=path_argument, default=ROOT, help="folder of main.py")
    parser.add_argument("--repeats", type=int, default=1, help="medians of so many runs")
    options = parser.parse_args(arguments)
    config, fields = config_of(options.model, options.data.resolve())
    results = [measure(config, fields, options.tree.resolve()) for _ in range(options.repeats)]
    print(f"{'':26}{'clock':>10}{'processor':>12}")
    for row in results[0]:
        clock, processor = (
            statistics.median(column) for column in zip(*(r[row] for r in results), strict=True)
        )
        print(f"{row:26}{clock:>8.1f} s{processor:>10.1f} s")


if __name__ == "__main__":
    main()
