"""Runs of main.py in a source tree, each in a process of its own, and what they took."""

import dataclasses
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measuring import cpu_seconds, memory_field
from hero_jax.training import curves

# Variables of the environment that would place the compiled programs of all trees together.
CACHES = ("HERO_JAX_CACHE", "JAX_COMPILATION_CACHE_DIR")


@dataclasses.dataclass(frozen=True)
class Tree:
    """A source tree.

    name: what tables call it.
    folder: where its `main.py` is.
    settings: fields of the config that its runs have besides those of all trees, by name.
    """

    name: str
    folder: pathlib.Path
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Training:
    """Time and memory that a run of training took.

    seconds, cpu: by step that was reported, seconds and CPU seconds (user and system) from the
      start of the process to the report.
    metrics: what the run logged, by metric and step.
    memory: peak memory until the last report, in MB.
    """

    seconds: Mapping[int, float]
    cpu: Mapping[int, float]
    metrics: Mapping[str, Mapping[int, float]]
    memory: float

    @property
    def clips_per_step(self) -> float:
        """The mean of the reports, which are equally far apart."""
        return statistics.mean(self.metrics["data/clips_per_step"].values())

    def per_clip(self, first: int) -> tuple[float, float]:
        """Returns seconds and CPU seconds of a clip, from the report of step `first` to the last.

        Reports are at multiples of `first`.
        """
        last = max(self.seconds)
        clips = first * sum(
            value for step, value in self.metrics["data/clips_per_step"].items() if step > first
        )
        return (
            (self.seconds[last] - self.seconds[first]) / clips,
            (self.cpu[last] - self.cpu[first]) / clips,
        )


def command(settings: Mapping[str, Any], workdir: pathlib.Path, *flags: str) -> list[str]:
    """Returns a command that runs main.py on the published recipe with other settings."""
    fields = [f"--config.{name}={value}" for name, value in settings.items()]
    recipe = ["--config=configs/pretrain.py", f"--workdir={workdir}"]
    return [sys.executable, "main.py", *recipe, *flags, *fields]


def environment(cache: pathlib.Path) -> dict[str, str]:
    """Returns variables for a run that keeps what it compiles, if it does, in a folder."""
    kept = {name: value for name, value in os.environ.items() if name not in CACHES}
    return kept | {"XDG_CACHE_HOME": str(cache)}


def train(tree: Tree, settings: Mapping[str, Any], last: int, cache: pathlib.Path) -> Training:
    """Trains, and ends the process at the report of step `last`.

    Exits with what the run has printed if it ends before.
    """
    seconds, cpu, lines = {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder)
        begun = time.perf_counter()
        process = subprocess.Popen(
            command({**settings, **tree.settings}, workdir),
            cwd=tree.folder,
            env=environment(cache),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    lines.append(line)
                    if report := re.match(r"step (\d+): ", line):
                        step = int(report[1])
                        seconds[step] = time.perf_counter() - begun
                        cpu[step] = cpu_seconds(process.pid)
                        if step == last:
                            memory = memory_field(f"/proc/{process.pid}/status", "VmHWM") / 2**20
                            return Training(seconds, cpu, curves.history(workdir), memory)
            finally:
                process.kill()
    sys.exit(f"error: a run in {tree.folder} ended before step {last}:\n{''.join(lines)}")


def to_end(
    tree: Tree,
    settings: Mapping[str, Any],
    workdir: pathlib.Path,
    cache: pathlib.Path,
    flags: Sequence[str] = (),
) -> tuple[float, float]:
    """Runs main.py to its end; returns its seconds and CPU seconds.

    Exits with what it has printed if it fails.
    """
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command({**settings, **tree.settings}, workdir, *flags),
        cwd=tree.folder,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"error: a run in {tree.folder} failed:\n{done.stdout}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
