"""Trains all families of downstream tasks at once; a process of its own for its devices.

    python -m tests.end_to_end.families DATASETS TINY WORKDIR

On one device also resumes from the checkpoint in the middle, and predicts the unlabelled split.
"""

import pathlib
import shutil
import sys

import jax

from hero_jax.training.evaluate import evaluate_checkpoint
from hero_jax.training.loop import train
from tests.end_to_end.downstream import PARTS, SAVED, STEPS, multitask
from tests.end_to_end.harness import Runs


def main(datasets, tiny, workdir):
    runs = Runs(pathlib.Path(tiny), pathlib.Path())
    train(multitask(datasets, runs), str(workdir / "unbroken"))
    if jax.device_count() > 1:
        return
    shutil.copytree(
        workdir / "unbroken" / "checkpoints" / str(SAVED),
        workdir / "resumed" / "checkpoints" / str(SAVED),
    )
    train(multitask(datasets, runs), str(workdir / "resumed"))
    test = {f"parts__{part}__data__eval_split": "test" for part in PARTS}
    evaluate_checkpoint(multitask(datasets, runs, **test), str(workdir / "resumed"))
    assert (workdir / "resumed" / "checkpoints" / str(STEPS)).is_dir()


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
