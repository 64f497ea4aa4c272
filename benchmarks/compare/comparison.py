"""Measurements of two source trees, taken in turns, and their table."""

import argparse
import dataclasses
import functools
import itertools
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import sentences, simulated
from benchmarks.compare import runs
from benchmarks.compare.runs import Training, Tree
from configs import pretrain
from hero_jax.training.task_draws import draw_task

RECIPE = pretrain.get_config()
RATIOS = {name: ratio for name, ratio in RECIPE.tasks.items() if ratio}
# Clips for training; the others of the corpus are for evaluation.
TRAIN_CLIPS = 600
# Runs of training are ended from outside.
ENDLESS = {"optimizer.steps": 1_000_000, "eval_every": 1_000_000, "save_every": 1_000_000}
ONE_GROUP = {"batch.groups": 1, "batch.accumulation": 1, "model.dtype": "float32"}
TINY = {
    "batch.clips_per_group": 4,
    "model.hidden_size": 16,
    "model.intermediate_size": 32,
    "model.num_heads": 2,
    "model.cross_modal_layers": 1,
    "model.temporal_layers": 1,
    "model.vocab_size": 300,
    "model.feature_size": 8,
}
# Seconds and CPU seconds, by what was measured.
Figures = dict[str, tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Workload:
    """A model and its data.

    settings: fields of the config, by name.
    stretch: steps between two reports; the first of them do not count.
    steps: of a run.
    """

    settings: Mapping[str, Any]
    stretch: int
    steps: int


class Comparison:
    """Two trees, and what is measured of both."""

    def __init__(self, trees: Sequence[Tree], folder: pathlib.Path, options: argparse.Namespace):
        """Takes the trees and the options of the command.

        Args:
          folder: where datasets, workdirs and caches come.
        """
        self.trees, self.folder = trees, folder
        self.pairs, self.tasks, self.tiny = options.pairs, options.tasks, options.tiny

    def small(self) -> None:
        """Compares steps of the small model."""
        self._steps("small", self._small_model)

    def full(self) -> None:
        """Compares steps at full size."""
        self._steps("full", self._full_model)

    def evaluate(self) -> None:
        """Compares evaluations, by each tree of a checkpoint of its own."""
        settings = self._small_model.settings | {"optimizer.steps": 1}
        workdirs = {tree.name: self.folder / f"run-{tree.name}" for tree in self.trees}
        for tree in self.trees:
            runs.to_end(tree, settings, workdirs[tree.name], self.folder / "cache")

        def measure(tree: Tree, cache: pathlib.Path) -> Figures:
            return {
                name: runs.to_end(tree, settings, workdirs[tree.name], cache, ["--mode=evaluate"])
                for name in ("first", "again")
            }

        print_rows("evaluate", self._taking_turns("evaluate", measure))
        first, second = (
            json.loads((workdir / "evaluation-validation-1.json").read_text())
            for workdir in workdirs.values()
        )
        print_difference("metrics of the evaluation", first, second)

    def start(self) -> None:
        """Compares what passes until the first step, and until all tasks have been trained."""
        workload = self._small_model
        # A seed with which the first steps are of different tasks.
        config, last = RECIPE.copy_and_resolve_references(), len(RATIOS)
        for config.seed in itertools.count(1):
            if len({draw_task(config, step) for step in range(last)}) == last:
                break
        settings = {**workload.settings, "seed": config.seed, "log_every": 1}

        def measure(tree: Tree, cache: pathlib.Path) -> Figures:
            figures = {}
            for name in ("first", "again"):
                run = runs.train(tree, settings, last, cache)
                for words, step in (("step 1", 1), ("all tasks", last)):
                    figures[f"{name}, {words}"] = run.seconds[step], run.cpu[step]
            return figures

        print_rows("start", self._taking_turns("start", measure))

    def losses(self) -> None:
        """Compares the losses and the norms of gradients and parameters of a run."""
        settings = {**self._small_model.settings, "log_every": 1}
        last = 6 if self.tiny else 200
        both = [runs.train(tree, settings, last, self.folder / "cache") for tree in self.trees]
        for name in ("loss", "gradient_norm", "parameter_norm"):
            first, second = (run.metrics[f"train/{name}"] for run in both)
            print_difference(f"{name} of {last} steps", first, second)

    def _steps(self, title: str, workload: Workload) -> None:
        """Compares training on each task, and prints their mean by the ratios."""
        by_task = {}
        for task in self.tasks:
            settings = {**workload.settings, "log_every": workload.stretch}
            settings |= {f"tasks.{name}": float(name == task) for name in RATIOS}
            last: dict[str, Training] = {}

            def measure(tree: Tree, _: pathlib.Path, settings=settings, last=last) -> Figures:
                run = runs.train(tree, settings, workload.steps, self.folder / "cache")
                last[tree.name] = run
                return {"": run.per_clip(workload.stretch)}

            by_task[task] = self._taking_turns(f"{title} {task}", measure)
            print_rows(f"{title} {task}", by_task[task], per_clip=True)
            memory = " and ".join(f"{run.memory / 1024:.2f}" for run in last.values())
            clips = " and ".join(f"{run.clips_per_step:.2f}" for run in last.values())
            print(f"{title} {task}: peak memory {memory} GB; {clips} clips a step")
            print_difference(
                f"{title} {task}: losses", *(run.metrics["train/loss"] for run in last.values())
            )
        total = sum(RATIOS[task] for task in by_task)
        mean = sum(RATIOS[task] * found[""] for task, found in by_task.items()) / total
        print_rows(f"{title} by ratio", {"": mean}, per_clip=True)

    def _taking_turns(
        self, title: str, measure: Callable[[Tree, pathlib.Path], Figures]
    ) -> dict[str, np.ndarray]:
        """Measures the trees in turns.

        Args:
          measure: measures a tree, with an empty folder for caches.

        Returns:
          By what was measured, `[pair, tree, (seconds, CPU seconds)]`.
        """
        found = []
        for pair in range(self.pairs):
            for tree in self.trees:
                with tempfile.TemporaryDirectory() as cache:
                    figures = measure(tree, pathlib.Path(cache))
                    found.append(figures)
                shown = ", ".join(f"{name} {s:.4g} s" for name, (s, _) in figures.items())
                print(f"{title}, pair {pair + 1}, {tree.name}: {shown}", file=sys.stderr)
        return {
            name: np.array([figures[name] for figures in found]).reshape(self.pairs, 2, 2)
            for name in found[0]
        }

    @functools.cached_property
    def _small_model(self) -> Workload:
        """The small model with its dataset."""
        if self.tiny:
            data = self.folder / "tiny"
            sizes = TINY["model.feature_size"], TINY["model.vocab_size"]
            simulated.build(data, {"train": 12, "validation": 4}, *sizes)
            return Workload(ONE_GROUP | TINY | ENDLESS | _data(data), stretch=2, steps=4)
        shared, data = sentences.shared_folder(), self.folder / "real"
        splits = self.folder / "splits.json"
        published = json.loads((shared / "tvr_text" / "splits.json").read_text())
        clips = published["train"] + published["val"]
        splits.write_text(json.dumps({"train": clips[:TRAIN_CLIPS], "val": clips[TRAIN_CLIPS:]}))
        sentences.build(data, shared, splits, ("train", "val"))
        settings = sentences.SETTINGS | ENDLESS | _data(data)
        return Workload(settings, stretch=20, steps=80)

    @functools.cached_property
    def _full_model(self) -> Workload:
        """The full-size model with its dataset."""
        if self.tiny:
            return self._small_model
        data, model = self.folder / "simulated", RECIPE.model
        simulated.build(data, {"train": 48, "validation": 2}, model.feature_size, model.vocab_size)
        settings = ONE_GROUP | {"batch.clips_per_group": 8} | ENDLESS | _data(data)
        return Workload(settings, stretch=2, steps=6)


def _data(dataset: pathlib.Path) -> dict[str, str]:
    return {"data.dir": str(dataset.parent), "data.name": dataset.name}


def print_rows(title: str, found: Mapping[str, np.ndarray], per_clip: bool = False) -> None:
    """Prints figures `[pair, tree, (seconds, CPU seconds)]`, which may be those of a clip."""
    for name, figures in found.items():
        seconds, cpu = figures[..., 0], figures[..., 1]
        rows = {"s": seconds, "s of CPU": cpu}
        if per_clip:
            rows = {"clips/s": 1 / seconds, "ms of CPU/clip": 1000 * cpu}
        for (unit, values), raw in zip(rows.items(), (seconds, cpu), strict=True):
            words = f"{title}, {name}, {unit}" if name else f"{title}, {unit}"
            before, after = (spread(values[:, tree], 4) for tree in range(2))
            print(f"{words:<38} {before:>24} {after:>24} {spread(raw[:, 0] / raw[:, 1], 3):>20}")
    sys.stdout.flush()


def spread(values: np.ndarray, digits: int) -> str:
    """Returns the median, and the lowest and the highest value in brackets."""
    median, low, high = (
        f"{value:.{digits}g}" for value in (np.median(values), values.min(), values.max())
    )
    return f"{median} ({low}-{high})"


def print_difference(name: str, first: Mapping[Any, float], second: Mapping[Any, float]) -> None:
    """Prints the largest relative difference between values of the same keys."""
    if first.keys() != second.keys():
        sys.exit(f"error: {name}: both trees have values of different steps or names")
    differences = {key: abs(second[key] - first[key]) / abs(first[key] or 1) for key in first}
    worst = max(differences, key=differences.__getitem__)
    print(f"{name}: largest relative difference {differences[worst]:.1e} ({worst})", flush=True)
