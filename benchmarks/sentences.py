"""Pre-trains on real sentences with simulated features, beside what the original reaches there.

    HERO_SHARED=DIR python benchmarks/sentences.py [--seeds 1 2 3] [--out=DIR]

Imports `tvr_text` of `HERO_SHARED` (1,000 clips: the sentences and times of TVR's descriptions,
features that carry the words of what is on screen) with `roberta_bpe`, trains a small model on 800
clips for 2,000 steps with each seed, and prints a line for each: how it does on the other 200.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from hero_jax.training import curves

SETTINGS = {
    "batch.groups": 1,
    "batch.clips_per_group": 16,
    "batch.accumulation": 1,
    # Room for 16 clips in every batch, as the original has them.
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
    "optimizer.steps": 2000,
    "optimizer.warmup_steps": 200,
    "optimizer.max_gradient_norm": 0,
    "eval_every": 2000,
}
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


def build(shared, datasets):
    """Imports the corpus as dataset `sentences`, unless it is there."""
    out, source = datasets / "sentences", shared / "tvr_text"
    if out.exists():
        return
    command = [
        *(sys.executable, "-m", "data.build", "raw", "--form=tvr", "--seconds_per_feature=1.5"),
        f"--subtitles={source / 'subtitles.jsonl'}",
        f"--features={source / 'features' / 'resnet'}",
        f"--features={source / 'features' / 'slowfast'}",
        f"--splits={source / 'splits.json'}",
        f"--tokenizer={shared / 'roberta_bpe'}",
        f"--queries={source / 'queries_val.jsonl'}",
        f"--out={out}",
    ]
    run(command)


def run(command):
    """To a good end, or ends with what the command has said."""
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        sys.exit(status)


def train(seed, datasets, workdir):
    """Evaluation after the last step, and the run's seconds from start to end."""
    settings = SETTINGS | {"seed": seed, "data.dir": datasets, "data.name": "sentences"}
    command = [sys.executable, "main.py", "--config=configs/pretrain.py", f"--workdir={workdir}"]
    command += [f"--config.{name}={value}" for name, value in settings.items()]
    begun = time.perf_counter()
    run(command)
    seconds = time.perf_counter() - begun
    last = SETTINGS["optimizer.steps"]
    history = curves.history(workdir)
    return {name: history[f"eval/{name}"][last] for name in ORIGINAL}, seconds


def line(title, results):
    """One row of the table."""
    losses = "".join(f"{results[name]:10.3f}" for name in LOSSES)
    return f"{title:<22}{losses}" + "".join(f"{100 * results[name]:9.2f}%" for name in SHARES)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=pathlib.Path, help="keeps data set and runs there")
    arguments = parser.parse_args()
    if "HERO_SHARED" not in os.environ:
        sys.exit("error: HERO_SHARED is not set: it names the folder with tvr_text/ in it.")
    shared = pathlib.Path(os.environ["HERO_SHARED"]).resolve()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = (arguments.out or pathlib.Path(folder)).resolve()
        build(shared, out / "datasets")
        for seed in arguments.seeds:
            results, seconds = train(seed, out / "datasets", out / f"seed{seed}")
            rows.append(line(f"seed {seed}, {seconds:.0f} s", results))
    titles = [f"{title:>10}" for title in (*LOSSES.values(), *SHARES.values())]
    print(f"{'':22}{''.join(titles)}")
    print("\n".join(rows))
    for number in range(3):
        print(line(f"original, run {number + 1}", {k: v[number] for k, v in ORIGINAL.items()}))


if __name__ == "__main__":
    main()
