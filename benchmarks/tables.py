"""The rows of the paper's ablations: pre-training, fine-tuning and scores, with several seeds.

    python -m benchmarks.tables --preset=shapes
    python -m benchmarks.tables --preset=published --rows all --init_from=roberta.bin

Each row of ROWS pre-trains a model in one way, or not at all, and fine-tunes it for retrieval.
`shapes` does so with small models on the sample corpus, `published` with the published recipes on
the datasets that docs/reproduce.md names. Finished runs in --runs are not trained again. It prints
the mean over the seeds and the distance of the least from the largest, and what each part of
pre-training adds.
"""

import argparse
import dataclasses
import itertools
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

# Read when TensorFlow is imported, which otherwise prints notices.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
from absl import logging

from benchmarks.shapes import ROOT, prepare, run
from configs import pretrain, tvr
from data.command import path_argument
from data.config import Config
from hero_jax.training.evaluate import evaluate_checkpoint

PRESETS = ("shapes", "published")
# Metrics of fine-tuning in the tables, in percent.
METRICS = {
    "moment_retrieval/vcmr_r@1_iou0.5": "moment in the corpus",
    "moment_retrieval/svmr_r@1_iou0.5": "moment in its clip",
    "moment_retrieval/vr_r@1": "clip",
}
# Settings of the encoders besides their name.
FLAT = {"batch.segmentation": "clip", "batch.row_length": 512}
# Datasets of pre-training by preset; the sample corpus of another seed stands for HowTo100M.
CORPORA = {
    "shapes": {"tv": "shapes", "howto100m": "shapes_more"},
    "published": {"tv": "tv", "howto100m": "howto100m"},
}
OTHER_SEED = 1


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    title: as it is printed.
    tasks: of pre-training, without which there is none.
    encoder: as `model.encoder`.
    corpora: that it is pre-trained on, keys of CORPORA.
    """

    title: str
    tasks: Sequence[str] = ()
    encoder: str = "hierarchical"
    corpora: Sequence[str] = ("tv",)


_ALL = ("mlm", "mfm_nce", "fom", "vsm")
_FLAT = ("mlm", "mfm_nce", "vsm")
# By table of the paper: tasks and data of pre-training, then encoders.
TABLES: Mapping[str, Mapping[str, Row]] = {
    "Table 1: tasks and data": {
        "none": Row("no pre-training"),
        "mlm": Row("MLM", _ALL[:1]),
        "mlm_mfm": Row("MLM + MFM", _ALL[:2]),
        "mlm_mfm_fom": Row("MLM + MFM + FOM", _ALL[:3]),
        "mlm_mfm_vsm": Row("MLM + MFM + VSM", _FLAT),
        "all": Row("all four", _ALL),
        "howto100m": Row("all four, HowTo100M alone", _ALL, corpora=("howto100m",)),
        "both": Row("all four, TV and HowTo100M", _ALL, corpora=("tv", "howto100m")),
    },
    "Table 2: encoders": {
        "flat_none": Row("F-TRM, no pre-training", encoder="flat"),
        "flat": Row("F-TRM", _FLAT, encoder="flat"),
        "text_only_none": Row("H-TRM, no pre-training", encoder="text_only"),
        "text_only": Row("H-TRM", _ALL, encoder="text_only"),
    },
}
ROWS = {name: row for rows in TABLES.values() for name, row in rows.items()}
# What is compared: the row with a part, and that without.
PARTS = {
    "FOM": ("all", "mlm_mfm_vsm"),
    "VSM": ("all", "mlm_mfm_fom"),
    "hierarchy": ("all", "flat"),
    "pre-training": ("all", "none"),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings that all runs share; see the command's help."""

    preset: str
    data: pathlib.Path
    runs: pathlib.Path
    num_clips: int
    init_from: str
    pretraining_steps: int | None
    steps: int | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the rows and prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS], metavar="ROW")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--data", type=path_argument, default="datasets", help="folder of datasets")
    parser.add_argument("--runs", type=path_argument, default="runs", help="folder of runs")
    parser.add_argument("--num_clips", type=int, default=1500, help="films of the sample corpus")
    parser.add_argument("--init_from", type=path_argument, help="weights of RoBERTa to start from")
    parser.add_argument("--pretraining_steps", type=int, help="default: those of the preset")
    parser.add_argument("--steps", type=int, help="of fine-tuning; default: those of the preset")
    given = vars(parser.parse_args(arguments))
    rows, seeds = given.pop("rows"), range(given.pop("seeds"))
    if not seeds:
        parser.error("--seeds has to be 1 or more")
    options = Options(**{**given, "init_from": str(given["init_from"] or "")})
    logging.set_verbosity(logging.ERROR)
    logging.get_absl_logger().setLevel("ERROR")
    scores = {name: [score(name, seed, options) for seed in seeds] for name in rows}
    print("\n".join(itertools.chain(tables(scores), effects(scores))))


def score(name: str, seed: int, options: Options) -> dict[str, float]:
    """Pre-trains, fine-tunes and evaluates a row with a seed; returns METRICS in percent."""
    row, weights = ROWS[name], options.init_from
    runs = options.runs / "tables" / options.preset
    if row.tasks:
        config = pretraining(row, options)
        config.seed += seed
        for corpus in row.corpora:
            _prepare(config, CORPORA[options.preset][corpus], options)
        weights = str(runs / f"{name}-{seed}")
        run(config, pathlib.Path(weights), options.pretraining_steps)
    config = finetuning(row, options)
    config.seed += seed
    config.init_from = weights
    _prepare(config, config.data.name, options)
    workdir = runs / f"{name}-{seed}-tvr"
    run(config, workdir, options.steps)
    config.data.eval_split = "test" if options.preset == "shapes" else "validation"
    results = evaluate_checkpoint(config, workdir)
    return {metric: 100 * results[metric] for metric in METRICS}


def pretraining(row: Row, options: Options) -> Config:
    """Returns the config of a row's pre-training."""
    config = pretrain.get_config("shapes" if options.preset == "shapes" else "")
    config.tasks = {task: ratio for task, ratio in config.tasks.items() if task in row.tasks}
    names = CORPORA[options.preset]
    config.data.update(
        dir=str(options.data), name=",".join(names[corpus] for corpus in row.corpora)
    )
    config.init_from = options.init_from
    if "vsm" not in row.tasks:
        config.best_metric = "mlm/accuracy"
    return _with_encoder(config, row)


def finetuning(row: Row, options: Options) -> Config:
    """Returns the config of a row's fine-tuning."""
    config = tvr.get_config("shapes" if options.preset == "shapes" else "")
    config.data.dir = str(options.data)
    return _with_encoder(config, row)


def _with_encoder(config: Config, row: Row) -> Config:
    config.model.encoder = row.encoder
    if row.encoder == "flat":
        config.update_from_flattened_dict(FLAT)
        words = config.batch.max_clip_tokens
        config.model.text_positions = max(config.model.text_positions, words + 2)
    return config


def _prepare(config: Config, name: str, options: Options) -> None:
    """Builds a dataset of the sample corpus unless it exists; the published ones have to exist."""
    if options.preset == "published":
        return
    if name != CORPORA["shapes"]["howto100m"]:
        one = config.copy_and_resolve_references()
        one.data.name = name
        prepare(one, options.data, options.num_clips)
    elif not (options.data / name / "clips").is_dir():
        # Models of one corpus read the other, so both have one tokenizer.
        first = config.copy_and_resolve_references()
        first.data.name = CORPORA["shapes"]["tv"]
        prepare(first, options.data, options.num_clips)
        folder = options.data / first.data.name
        command = [sys.executable, "-m", "data.build", "shapes", f"--seed={OTHER_SEED}"]
        command += [f"--out={(options.data / name).absolute()}", f"--tokenizer={folder.absolute()}"]
        subprocess.run([*command, f"--num_clips={options.num_clips}"], check=True, cwd=ROOT)


def tables(scores: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """Returns the lines of the tables of rows that have scores."""
    lines = []
    for title, rows in TABLES.items():
        found = [name for name in rows if name in scores]
        if not found:
            continue
        lines += [
            f"\n{title}; R@1 in percent, mean and range of {len(scores[found[0]])} seeds",
            f"| {'':<28} | {' | '.join(f'{label:>20}' for label in METRICS.values())} |",
            f"| {'-' * 28} | {' | '.join(['-' * 20] * len(METRICS))} |",
        ]
        for name in found:
            values = [np.array([one[metric] for one in scores[name]]) for metric in METRICS]
            cells = [f"{value.mean():.2f} ({np.ptp(value):.2f})" for value in values]
            lines.append(f"| {rows[name].title:<28} | {' | '.join(f'{c:>20}' for c in cells)} |")
    return lines


def effects(scores: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    """Returns a line for each part and metric of PARTS.

    A part helps, or harms, if the difference of the means is larger than both ranges of the seeds.
    """
    lines = [""]
    for part, (with_part, without) in PARTS.items():
        if not {with_part, without} <= scores.keys():
            continue
        for metric, label in METRICS.items():
            values = [
                np.array([one[metric] for one in scores[name]]) for name in (with_part, without)
            ]
            difference, spread = values[0].mean() - values[1].mean(), max(map(np.ptp, values))
            said = (
                "not shown" if abs(difference) <= spread else "helps" if difference > 0 else "harms"
            )
            lines.append(
                f"{part}, {label}: {difference:+.2f}, seeds range over {spread:.2f}: {said}"
            )
    return lines


if __name__ == "__main__":
    main()
