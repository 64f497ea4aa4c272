"""What pre-training gives: every kind of downstream task on the sample corpus, with and without it.

    python benchmarks/shapes.py

Builds what is missing of the sample corpus with annotations, pre-trains the small model, fine-tunes
it for each task from there and from random weights, and prints the scores on the test split as one
table. What has been trained before under --runs is not trained again.
"""

import argparse
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from absl import logging

from configs import pretrain, tvc, tvqa, tvr, violin
from data.pipeline.units import AnnotatedSplit
from data.times import temporal_iou
from hero_jax.metrics import captions
from hero_jax.metrics.retrieval import seconds
from hero_jax.training.evaluate import evaluate_checkpoint
from hero_jax.training.loop import train

SPLIT = "test"
# The config of each task, and the metrics to show: name for people, and whether it is a share.
TASKS = {
    tvr: {
        "moment_retrieval/vcmr_r@1_iou0.5": ("moment in the corpus, R@1, IoU 0.5", True),
        "moment_retrieval/svmr_r@1_iou0.5": ("moment in its clip, R@1, IoU 0.5", True),
        "moment_retrieval/vr_r@1": ("clip, R@1", True),
    },
    tvqa: {"question_answering/accuracy": ("answer to a question, accuracy", True)},
    violin: {"inference/accuracy": ("statement, accuracy", True)},
    tvc: {"captioning/cider": ("caption, CIDEr", False)},
}
# Captions of the training split that are tried as the one for all moments.
CONSTANTS = 50


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="datasets", help="folder of datasets")
    parser.add_argument("--runs", default="runs", help="folder of runs")
    options = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    logging.get_absl_logger().setLevel("ERROR")
    data, runs = pathlib.Path(options.data), pathlib.Path(options.runs)
    start = pretrain.get_config("shapes")
    prepare(start, data, "none")
    run(start, runs / "shapes")
    rows = []
    for module, metrics in TASKS.items():
        name = module.__name__.rpartition(".")[2]
        scores = {}
        for weights, source in (("pre-trained", str(runs / "shapes")), ("random", "")):
            config = module.get_config("shapes")
            config.init_from = source
            prepare(config, data, config.data.name.removeprefix("shapes_"))
            workdir = runs / f"{name}-{weights}"
            run(config, workdir)
            config.data.eval_split = SPLIT
            scores[weights] = evaluate_checkpoint(config, workdir)
        chances = CHANCE[name](data / config.data.name, config)
        for metric, (label, is_share) in metrics.items():
            numbers = chances[metric], *(scores[which][metric] for which in scores)
            shown = [f"{100 * x:.2f}%" if is_share else f"{x:.2f}" for x in numbers]
            rows.append(f"| {label:<36} | {' | '.join(f'{x:>11}' for x in shown)} |")
    heads = ("chance", "pre-trained", "random")
    print(f"\n| {SPLIT + ' split':<36} | {' | '.join(f'{x:>11}' for x in heads)} |")
    print(f"| {'-' * 36} | {' | '.join(['-' * 11] * 3)} |")
    print("\n".join(rows))
    print("Chance of captions: the best of the constant captions.")


def prepare(config, data, annotations):
    """Builds a dataset unless it is there."""
    config.data.dir = str(data)
    out = data / config.data.name
    if not (out / "clips").is_dir():
        command = [sys.executable, "-m", "data.build", "shapes", f"--out={out.absolute()}"]
        command += [] if annotations == "none" else [f"--queries={annotations}"]
        subprocess.run([*command, "--workers=2"], check=True, cwd=ROOT)


def run(config, workdir):
    """Trains to the end; a run that is at its end has nothing to do."""
    print(f"== {workdir}", flush=True)
    train(config, str(workdir))


def chance_of_moments(dataset, config):
    """Of a random moment of an allowed length in a random clip, in the own clip, of a clip."""
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
    own = float(np.mean(shares))
    return {
        "moment_retrieval/vcmr_r@1_iou0.5": own / len(frames),
        "moment_retrieval/svmr_r@1_iou0.5": own,
        "moment_retrieval/vr_r@1": 1 / len(frames),
    }


def chance_of_captions(dataset, config):
    """CIDEr of the best constant caption of the commonest in the training split."""
    del config
    split, counts = AnnotatedSplit(dataset, SPLIT), {}
    for query in AnnotatedSplit(dataset, "train").queries:
        counts[query.text] = counts.get(query.text, 0) + 1
    references: dict[str, list[str]] = {}
    for query in split.queries:
        references.setdefault(query.group, []).append(query.text)
    commonest = sorted(counts, key=counts.get, reverse=True)[:CONSTANTS]
    scores = [captions.cider(references, dict.fromkeys(references, text)) for text in commonest]
    return {"captioning/cider": max(scores)}


CHANCE = {
    "tvr": chance_of_moments,
    "tvqa": lambda *_: {"question_answering/accuracy": 0.2},
    "violin": lambda *_: {"inference/accuracy": 0.5},
    "tvc": chance_of_captions,
}

if __name__ == "__main__":
    main()
