"""Pre-training on real sentences with simulated features, beside the original's results.

    HERO_SHARED=DIR python -m benchmarks.sentences [--seeds 1 2 3] [--steps=2000] [--out=DIR]

Imports `tvr_text` from `HERO_SHARED` (1,000 clips: the sentences and times of TVR's descriptions,
and features that encode the words for what is on screen) with the tokenizer `roberta_bpe`, trains a
small model on 800 clips for 2,000 steps with each seed, and prints its scores on the other 200.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from data.command import path_argument
from hero_jax.training import curves

ROOT = pathlib.Path(__file__).parents[1]
STEPS = 2_000
SETTINGS = {
    "batch.groups": 1,
    "batch.clips_per_group": 16,
    "batch.accumulation": 1,
    # Rows for 16 clips in every batch, as in the original.
    "batch.rows_per_group": 10,
    "batch.query_rows_per_group": 7,
    "model.hidden_size": 128,
    "model.intermediate_size": 512,
    "model.num_heads": 4,
    "model.cross_modal_layers": 2,
    "model.temporal_layers": 2,
    "model.feature_size": 192,
    "model.dtype": "float32",
    "vsm.span_drop_probability": 0.0,
    "vsm.hard_negatives_from": -1,
    "optimizer.learning_rate": 1e-3,
    "optimizer.warmup_steps": 200,
    "optimizer.max_gradient_norm": 0,
}
# The same for frames, apart from what commits without rows of frames know.
FRAME_ROWS = {"batch.frame_rows_per_group": 11}
SHARES = {
    "mlm/accuracy": "MLM acc",
    "mfm_nce/accuracy": "MFM acc",
    "fom/accuracy": "FOM acc",
    "queries/r@1": "R@1",
    "queries/r@5": "R@5",
    "queries/r@10": "R@10",
}
LOSSES = {"mlm/loss": "MLM loss", "mfm_nce/loss": "MFM loss", "fom/loss": "FOM loss"}
# Three seeds of the original implementation with the same settings.
ORIGINAL = {
    "mlm/loss": (5.51, 5.45, 5.49),
    "mlm/accuracy": (0.163, 0.189, 0.179),
    "mfm_nce/loss": (4.28, 4.41, 4.31),
    "mfm_nce/accuracy": (0.050, 0.039, 0.054),
    "fom/loss": (4.07, 4.09, 4.09),
    "fom/accuracy": (0.030, 0.028, 0.034),
    "queries/r@1": (0.022, 0.019, 0.028),
    "queries/r@5": (0.072, 0.069, 0.075),
    "queries/r@10": (0.122, 0.135, 0.133),
}


def shared_folder() -> pathlib.Path:
    """Returns the folder with the corpus and the tokenizer, or exits."""
    if "HERO_SHARED" not in os.environ:
        sys.exit(
            "error: HERO_SHARED is not set: set it to the folder with tvr_text/ and roberta_bpe/"
        )
    return pathlib.Path(os.environ["HERO_SHARED"]).resolve()


def build(
    out: pathlib.Path,
    shared: pathlib.Path,
    splits: pathlib.Path | None = None,
    queries: Sequence[str] = ("val",),
) -> None:
    """Imports the corpus, unless the dataset exists.

    Args:
      splits: file of other splits than the corpus's.
      queries: the corpus's files of queries, by split.
    """
    if out.exists():
        return
    source = shared / "tvr_text"
    command = [
        *(sys.executable, "-m", "data.build", "raw", "--form=tvr", "--seconds_per_feature=1.5"),
        f"--subtitles={source / 'subtitles.jsonl'}",
        f"--features={source / 'features' / 'resnet'}",
        f"--features={source / 'features' / 'slowfast'}",
        f"--splits={splits or source / 'splits.json'}",
        f"--tokenizer={shared / 'roberta_bpe'}",
        *(f"--queries={source / f'queries_{split}.jsonl'}" for split in queries),
        f"--out={out}",
    ]
    run(command)


def run(command: Sequence[str]) -> None:
    """Runs a command; exits with its status if it fails."""
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)


def train(
    seed: int, steps: int, datasets: pathlib.Path, workdir: pathlib.Path
) -> tuple[dict[str, float], float]:
    """Trains with a seed; returns the metrics after the last step, and the run's seconds."""
    settings = SETTINGS | FRAME_ROWS | {"seed": seed, "optimizer.steps": steps, "eval_every": steps}
    settings |= {"data.dir": datasets, "data.name": "sentences"}
    command = [sys.executable, "main.py", "--config=configs/pretrain.py", f"--workdir={workdir}"]
    command += [f"--config.{name}={value}" for name, value in settings.items()]
    begun = time.perf_counter()
    run(command)
    seconds = time.perf_counter() - begun
    history = curves.history(workdir)
    return {name: history[f"eval/{name}"][steps] for name in ORIGINAL}, seconds


def line(title: str, results: Mapping[str, float]) -> str:
    """Returns a row of the table."""
    losses = "".join(f"{results[name]:10.3f}" for name in LOSSES)
    return f"{title:<22}{losses}" + "".join(f"{100 * results[name]:9.2f}%" for name in SHARES)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sentences", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--out", type=path_argument, help="folder to keep the dataset and the runs in"
    )
    options = parser.parse_args(arguments)
    shared, rows = shared_folder(), []
    with tempfile.TemporaryDirectory() as folder:
        out = (options.out or pathlib.Path(folder)).resolve()
        build(out / "datasets" / "sentences", shared)
        for seed in options.seeds:
            results, seconds = train(seed, options.steps, out / "datasets", out / f"seed{seed}")
            rows.append(line(f"seed {seed}, {seconds:.0f} s", results))
    titles = [f"{title:>10}" for title in (*LOSSES.values(), *SHARES.values())]
    print(f"{'':22}{''.join(titles)}")
    print("\n".join(rows))
    for number in range(3):
        print(line(f"original, run {number + 1}", {k: v[number] for k, v in ORIGINAL.items()}))


if __name__ == "__main__":
    main()
