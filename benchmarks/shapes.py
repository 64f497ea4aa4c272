"""Scores of each kind of downstream task on the sample corpus, with and without pre-training.

    python -m benchmarks.shapes

Builds the sample corpus with each kind of annotations, pre-trains the small model, fine-tunes it
for each task from these weights and from random ones, and prints a table of scores on the test
split. Datasets in --data are not built again, and finished runs in --runs are not trained again.
Below it are the scores that pre-trained models miss, of those that are required as multiples of
chance.
"""

import argparse
import collections
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

# Read when TensorFlow is imported, which otherwise prints notices.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
from absl import logging

from configs import pretrain, tvc, tvqa, tvr, violin
from configs.value import vlep, yc2c, yc2r
from data.command import path_argument
from data.config import Config
from data.pipeline.units import AnnotatedSplit
from data.times import temporal_iou
from hero_jax.metrics import captions
from hero_jax.metrics.retrieval import seconds
from hero_jax.training.evaluate import evaluate_checkpoint
from hero_jax.training.loop import train

ROOT = pathlib.Path(__file__).parents[1]
SPLIT = "test"
# Config of each task, and its metrics in the table: title, True for a share, and the multiple of
# chance that is required of it; those of VALUE's tasks were set before the first run.
TASKS = {
    tvr: {
        "moment_retrieval/vcmr_r@1_iou0.5": ("moment in the corpus, R@1, IoU 0.5", True, 1),
        "moment_retrieval/svmr_r@1_iou0.5": ("moment in its clip, R@1, IoU 0.5", True, 1),
        "moment_retrieval/vr_r@1": ("clip, R@1", True, 1),
    },
    tvqa: {"question_answering/accuracy": ("answer to a question, accuracy", True, 1)},
    violin: {"inference/accuracy": ("statement, accuracy", True, 1)},
    tvc: {"captioning/cider": ("caption, CIDEr", False, 1)},
    yc2r: {"video_retrieval/vr_r@1": ("clip (YC2R), R@1", True, 15)},
    vlep: {"question_answering/accuracy": ("next event (VLEP), accuracy", True, 1.2)},
    yc2c: {"captioning/cider": ("caption of a clip (YC2C), CIDEr", False, 1.5)},
}
CONSTANTS = 50  # most frequent captions of the training split, tried as a constant answer


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shapes", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", type=path_argument, default="datasets", help="folder of datasets")
    parser.add_argument("--runs", type=path_argument, default="runs", help="folder of runs")
    parser.add_argument("--num_clips", type=int, default=1500, help="films of the corpus")
    names = [name_of(module) for module in TASKS]
    parser.add_argument("--configs", nargs="+", choices=names, default=names, metavar="CONFIG")
    parser.add_argument("--steps", type=int, help="of every run; default: as in its config")
    options = parser.parse_args(arguments)
    logging.set_verbosity(logging.ERROR)
    logging.get_absl_logger().setLevel("ERROR")
    data, runs = options.data, options.runs
    start = pretrain.get_config("shapes")
    prepare(start, data, options.num_clips)
    run(start, runs / "shapes", options.steps)
    rows, missed = [], []
    for module, metrics in TASKS.items():
        name = name_of(module)
        if name not in options.configs:
            continue
        scores = {}
        for weights, source in (("pre-trained", str(runs / "shapes")), ("random", "")):
            config = module.get_config("shapes")
            config.init_from = source
            prepare(config, data, options.num_clips)
            workdir = runs / f"{name}-{weights}"
            run(config, workdir, options.steps)
            config.data.eval_split = SPLIT
            scores[weights] = evaluate_checkpoint(config, workdir)
        chances = CHANCE[name](data / config.data.name, config)
        for metric, (label, is_share, least) in metrics.items():
            numbers = chances[metric], *(values[metric] for values in scores.values())
            if numbers[1] < least * numbers[0]:
                missed.append(f"missed: {label} is below {least} times chance")
            shown = [f"{100 * x:.2f}%" if is_share else f"{x:.2f}" for x in numbers]
            rows.append(f"| {label:<36} | {' | '.join(f'{x:>11}' for x in shown)} |")
    heads = ("chance", "pre-trained", "random")
    print(f"\n| {SPLIT + ' split':<36} | {' | '.join(f'{x:>11}' for x in heads)} |")
    print(f"| {'-' * 36} | {' | '.join(['-' * 11] * 3)} |")
    print("\n".join(rows))
    print("Chance of captions: the best of the constant captions.")
    print("\n".join(missed))


def name_of(module: ModuleType) -> str:
    """Returns the name of a config."""
    return module.__name__.rpartition(".")[2]


def prepare(config: Config, data: pathlib.Path, num_clips: int) -> None:
    """Builds the dataset of a config in the folder `data`, unless it exists."""
    config.data.dir = str(data)
    out = data / config.data.name
    if not (out / "clips").is_dir():
        command = [sys.executable, "-m", "data.build", "shapes", f"--out={out.absolute()}"]
        if annotations := config.data.name.removeprefix("shapes").removeprefix("_"):
            command.append(f"--queries={annotations}")
        subprocess.run([*command, f"--num_clips={num_clips}", "--workers=2"], check=True, cwd=ROOT)


def run(config: Config, workdir: pathlib.Path, steps: int | None) -> None:
    """Trains to the last step, from the last checkpoint if there is one."""
    config.optimizer.steps = steps or config.optimizer.steps
    print(f"== {workdir}", flush=True)
    train(config, str(workdir))


def chance_of_moments(dataset: pathlib.Path, config: Config) -> dict[str, float]:
    """Returns the scores of random moments of allowed lengths in random clips."""
    split = AnnotatedSplit(dataset, SPLIT)
    settings, step = config.moment_retrieval, split.metadata.seconds_per_feature
    frames = [len(split.clips.read(n).frame_features) for n in range(len(split.clips))]
    shares = []
    for query in split.queries:
        length = min(frames[split.clip_of(query)], config.batch.max_frames)
        spans = [
            (start, end)
            for start in range(length)
            for end in range(start, length)
            if settings.min_span <= end - start < settings.max_span
        ]
        found = temporal_iou(seconds(np.array(spans), step), np.array(query.moment))
        shares.append(np.mean(found >= 0.5))
    in_its_clip = float(np.mean(shares))
    return {
        "moment_retrieval/vcmr_r@1_iou0.5": in_its_clip / len(frames),
        "moment_retrieval/svmr_r@1_iou0.5": in_its_clip,
        "moment_retrieval/vr_r@1": 1 / len(frames),
    }


def chance_of_captions(dataset: pathlib.Path, config: Config) -> dict[str, float]:
    """Returns the best CIDEr that one frequent caption of the training split reaches everywhere."""
    del config
    split, counts = AnnotatedSplit(dataset, SPLIT), collections.Counter[str]()
    for query in AnnotatedSplit(dataset, "train").queries:
        counts[query.text] += 1
    references: dict[str, list[str]] = {}
    for query in split.queries:
        references.setdefault(query.group, []).append(query.text)
    scores = [
        captions.cider(references, dict.fromkeys(references, text))
        for text, _ in counts.most_common(CONSTANTS)
    ]
    return {"captioning/cider": max(scores)}


CHANCE: dict[str, Callable[[pathlib.Path, Config], dict[str, float]]] = {
    "tvr": chance_of_moments,
    "tvqa": lambda *_: {"question_answering/accuracy": 0.2},
    "violin": lambda *_: {"inference/accuracy": 0.5},
    "tvc": chance_of_captions,
    "yc2r": lambda dataset, _: {
        "video_retrieval/vr_r@1": 1 / len(AnnotatedSplit(dataset, SPLIT).clip_ids)
    },
    "vlep": lambda *_: {"question_answering/accuracy": 0.5},
    "yc2c": chance_of_captions,
}

if __name__ == "__main__":
    main()
