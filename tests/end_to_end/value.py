"""Tiny datasets of VALUE's eleven tasks, and the configs of tiny runs of several of them."""

import importlib
from pathlib import Path

from configs.value import multitask, transfer
from data.building.dataset import build_dataset
from data.building.plan import Building
from data.schema import RawQuery
from data.sources.base import ClipSource
from data.tokenizer import Tokenizer
from tests.end_to_end.downstream import annotate, model
from tests.end_to_end.harness import SECONDS_PER_FEATURE, WORDS, raw_clip

# Kind of the annotations of each task.
KINDS = {
    **dict.fromkeys(("tvr", "how2r", "yc2r", "vatex_en_r"), "query"),
    **dict.fromkeys(("tvqa", "how2qa"), "question"),
    **{"vlep": "event", "violin": "statement", "tvc": "caption"},
    **dict.fromkeys(("yc2c", "vatex_en_c"), "film"),
}
TYPES = {"event": "question", "film": "caption"}
# The splits that count as VALUE's validation have the labels; those of other tasks `validation`.
LABELLED = {"violin": "test", "vatex_en_c": "test_public"}
NUMBERS = {"train": range(12), "validation": range(16, 21)}
STEPS, SAVED = 24, 12


def build(folder: Path) -> None:
    """Builds a dataset of each task, under its name."""
    tokenizer = Tokenizer.train([" ".join(WORDS)] * 3, 280)
    for task, kind in KINDS.items():
        clips, queries = {}, {}
        for split, numbers in NUMBERS.items():
            name = LABELLED.get(task, split) if split == "validation" else split
            clips[name] = [raw_clip(number) for number in numbers]
            queries[name] = [query for clip in clips[name] for query in _annotate(clip, kind)]
        source = ClipSource(clips, SECONDS_PER_FEATURE, queries, TYPES.get(kind, kind))
        build_dataset(folder / task, source, tokenizer, Building())


def _annotate(clip, kind):
    if kind in TYPES.values() or kind in ("query", "statement"):
        yield from annotate(clip, kind, labelled=True)
    elif kind == "event":
        for number in range(2):
            name = f"{clip.clip_id}_{number}"
            events = ("it spins", "it jumps slowly")
            yield RawQuery(name, clip.clip_id, "", answers=events, label=number)
    else:
        for number in range(2):
            name = f"{clip.clip_id}_{number}"
            yield RawQuery(name, clip.clip_id, "the red star spins", group=clip.clip_id[-3:])


def fields_of_part(task: str) -> dict:
    """Fields of the data and batches of a tiny run of a task."""
    return {
        "data.name": task,
        "data.eval_split": LABELLED.get(task, "validation"),
        "batch.groups": 1,
        "batch.clips_per_group": 3,
        "batch.row_length": 64,
        "batch.max_frames": 14,
        "batch.max_tokens": 20,
        "batch.max_query_tokens": 24,
    }


def fields_of_run(folder: Path, runs) -> dict:
    """Fields of a tiny run that are of no task."""
    return {
        "data.dir": str(folder),
        **{f"model.{name}": value for name, value in model(runs).items()},
        # Dropout nearly doubles compilation.
        "model.dropout": 0.0,
        "model.attention_dropout": 0.0,
        "optimizer.steps": STEPS,
        "optimizer.warmup_steps": 2,
        "optimizer.learning_rate": 1e-2,
        "log_every": 1,
        "eval_every": STEPS,
        "save_every": SAVED,
    }


def several(run: str, tasks, folder: Path, runs):
    """The config of a tiny multi-task run, of some of its tasks."""
    config = multitask.get_config(f"{run},shapes")
    fields = fields_of_run(folder, runs)
    fields |= {f"tasks.{task}": 0.0 for task in config.parts if task not in tasks}
    for task in config.parts:
        fields |= {f"parts.{task}.{name}": value for name, value in fields_of_part(task).items()}
        if "captioning" in config.parts[task]:
            fields[f"parts.{task}.captioning.max_steps"] = 4
    config.update_from_flattened_dict(fields)
    return config


def moved(source: str, target: str, folder: Path, runs, **changes):
    """The config of a tiny run of a task that is evaluated on another."""
    config = transfer.get_config(f"{source},{target},shapes")
    fields = fields_of_run(folder, runs) | fields_of_part(target) | changes
    config.update_from_flattened_dict(fields)
    return config


def one(task: str, folder: Path, runs, **changes):
    """The config of a tiny run of a task; `changes` override fields, with `__` for the dot."""
    config = importlib.import_module(f"configs.value.{task}").get_config("shapes")
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    fields = fields_of_run(folder, runs) | fields_of_part(task) | changes
    config.update_from_flattened_dict(fields)
    return config
