"""Tiny datasets with annotations of every type, and settings that make a tiny run of each task."""

import importlib
from pathlib import Path

import numpy as np

from data.building.dataset import build_dataset
from data.building.plan import Building
from data.schema import RawQuery
from data.sources.base import ClipSource
from data.tokenizer import Tokenizer
from tests.end_to_end.harness import SECONDS_PER_FEATURE, WORDS, raw_clip

TYPES = ("query", "question", "statement", "caption")
# The type of a dataset by the config that reads it.
DATASETS = {
    "tvr": "query",
    "msrvtt_asr": "query",
    "tvqa": "question",
    "violin": "statement",
    "tvc": "caption",
}
PARTS = ("tvr", "tvqa", "violin", "tvc", "msrvtt_asr")
STEPS, SAVED = 10, 5
SPLITS = {"train": range(16), "validation": range(16, 22), "test": range(22, 28)}


def build_annotated(folder: Path) -> None:
    """Builds a dataset of each type in `folder`.

    The test split has no labels, moments or captions, and its queries do not name their clips.
    """
    clips = {split: [raw_clip(n) for n in numbers] for split, numbers in SPLITS.items()}
    tokenizer = Tokenizer.train([" ".join(WORDS)] * 3, 280)
    for query_type in TYPES:
        queries = {
            split: [
                query
                for clip in split_clips
                for query in annotate(clip, query_type, labelled=split != "test")
            ]
            for split, split_clips in clips.items()
        }
        source = ClipSource(clips, SECONDS_PER_FEATURE, queries, query_type)
        build_dataset(folder / query_type, source, tokenizer, Building())


def annotate(clip, query_type, *, labelled):
    """Two annotations of a clip; a pair of statements counts as one."""
    rng = np.random.default_rng(int(clip.clip_id[-3:]))

    def words(count):
        return " ".join(rng.choice(WORDS, count))

    frames = len(clip.features[0])
    for number in range(2):
        start = float(rng.uniform(0, (frames - 3) * SECONDS_PER_FEATURE))
        moments = ((start, start + float(rng.uniform(1, 4))),)
        name = f"{clip.clip_id}_{number}"
        if query_type == "query":
            known = {"clip_id": clip.clip_id, "moments": moments} if labelled else {"clip_id": ""}
            yield RawQuery(query_id=name, text=words(4), kind="v", **known)
        elif query_type == "question":
            answers = tuple(words(2) for _ in range(5 - number))
            label = int(rng.integers(len(answers))) if labelled else -1
            moments = moments if number and labelled else ()
            yield RawQuery(name, clip.clip_id, words(3), moments, answers=answers, label=label)
        elif query_type == "statement":
            for label in (1, 0):
                shown = label if labelled else -1
                yield RawQuery(f"{name}-{label}", clip.clip_id, words(4), label=shown, group=name)
        else:
            for caption in range(2 if labelled else 1):
                text = words(4) if labelled else ""
                query_id = f"{name}_{caption}"
                yield RawQuery(query_id, clip.clip_id, text, moments, group=name)


def settings(folder: Path, runs, config: str) -> dict:
    """Fields of a tiny run of a downstream config's `shapes` preset."""
    return {
        "data.dir": str(folder),
        "data.name": DATASETS[config],
        "batch.groups": 2,
        "batch.clips_per_group": 2,
        "batch.row_length": 64,
        "batch.max_frames": 14,
        "batch.max_tokens": 20,
        "batch.max_query_tokens": 24,
        "batch.queries_per_clip": 3 if config == "tvc" else 1,
        **{f"model.{name}": value for name, value in model(runs).items()},
        "optimizer.steps": 3,
        "optimizer.warmup_steps": 1,
        "eval_every": 1000,
        "save_every": 1000,
        "log_every": 1,
    }


def model(runs) -> dict:
    """Fields of a tiny model."""
    fields = runs.values()
    sizes = {name[6:]: fields[name] for name in fields if name.startswith("model.")}
    return {**sizes, "text_positions": 64}


def make(folder: Path, runs, config: str, **changes):
    """The config of a tiny run; `changes` override fields, with `__` for the dot."""
    result = importlib.import_module(f"configs.{config}").get_config("shapes")
    fields = {name.replace("__", "."): value for name, value in changes.items()}
    result.update_from_flattened_dict({**settings(folder, runs, config), **fields})
    return result


def multitask(folder: Path, runs, **changes):
    """The config of a tiny run of all five families at once; up to 8 devices have a group each."""
    result = importlib.import_module("configs.multitask").get_config("shapes")
    result.parts.msrvtt_asr = importlib.import_module("configs.msrvtt_asr").get_config("shapes")
    result.tasks.msrvtt_asr = 1.0
    fields = {"data.dir": str(folder), "log_every": 1, "eval_every": STEPS, "save_every": SAVED}
    fields |= {f"model.{name}": value for name, value in model(runs).items()}
    fields |= {
        # Dropout, which nearly doubles compilation, is resumed and split in pre-training's tests.
        "model.dropout": 0.0,
        "model.attention_dropout": 0.0,
        "optimizer.steps": STEPS,
        "optimizer.warmup_steps": 2,
        "optimizer.learning_rate": 1e-2,
    }
    for part in PARTS:
        own_fields = settings(folder, runs, part)
        own_fields |= {"batch.groups": 8, "batch.clips_per_group": 1}
        fields |= {
            f"parts.{part}.{name}": value
            for name, value in own_fields.items()
            if name.startswith(("data.name", "batch."))
        }
    fields["parts.tvc.captioning.max_steps"] = 4
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    result.update_from_flattened_dict(fields)
    return result
