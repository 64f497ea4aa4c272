"""Exports of runs: a folder that inference and search read, or the original's state dict."""

import dataclasses
import json
import os
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import safetensors.numpy

from data.arguments import user_path
from data.errors import InputError, reason
from data.files import new_folder
from data.networks import in_words
from data.schema import tokenizer_path
from data.text import parse_json
from data.tokenizer import Tokenizer
from hero_jax.conversion.original_names import task_of_head
from hero_jax.conversion.state_dict import to_state_dict
from hero_jax.conversion.torch.write import write_state_dict
from hero_jax.experiment.compatibility import complete_batch
from hero_jax.inference import compiled, exported
from hero_jax.metrics.report import table
from hero_jax.models.params import unflatten
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.tasks.captioning import Captioning
from hero_jax.tasks.registry import TASKS
from hero_jax.training.checkpoint import Checkpoints

# Fields of a batch that decide what is read; the others only decide speed.
LIMITS = (
    *("row_length", "rows_per_group", "clips_per_group", "max_frames", "max_tokens"),
    *("max_query_tokens", "context_subtitles", "segmentation", "max_clip_tokens"),
    *("frame_rows_per_group", "frame_row_length", "max_subtitles"),
)
# What their paths begin with.
_SEARCH_HEADS = ("span_head/", "query_head/")
PACKAGES = ("jax", "flax", "numpy")


def from_run(workdir: str | os.PathLike, which: str | int = "latest") -> exported.Exported:
    """Returns the model of a run's checkpoint.

    Args:
      which: 'latest', 'best' or a step.

    Raises:
      InputError: no such run or checkpoint, or its tokenizer is missing.
    """
    return _read_run(workdir, which)[0]


def _read_run(
    workdir: str | os.PathLike, which: str | int
) -> tuple[exported.Exported, dict[str, Any], dict[str, Any]]:
    """Returns the model, JSON values about its training (step, metrics, sources), its config."""
    config = _config(workdir)
    checkpoints = Checkpoints(workdir, best_metric=config["best_metric"], read_only=True)
    step = checkpoints.find(str(which))
    if step is None:
        raise InputError(
            f"there is no checkpoint in {checkpoints.directory}: name the workdir of a run"
        )
    metadata = checkpoints.metadata(step)
    params = checkpoints.restore_params(step)
    tokenizer = _tokenizer(config, metadata["data"], workdir)
    tasks, searching = _tasks(metadata["config"])
    description = exported.describe(
        model=metadata["config"]["model"],
        data=metadata["data"],
        batch=searching["batch"],
        ranking=_ranking(searching["settings"]),
        tasks=tasks,
        params=params,
    )
    trained = {"step": step, "metrics": checkpoints.metrics(step), "sources": metadata["sources"]}
    return exported.Exported(description, params, tokenizer), trained, metadata["config"]


def _config(workdir: str | os.PathLike) -> dict[str, Any]:
    path = user_path(workdir) / "config.json"
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({reason(error)}): name the workdir of a run"
        ) from error


def _tokenizer(
    config: dict[str, Any], data: dict[str, Any], workdir: str | os.PathLike
) -> Tokenizer:
    """Returns the tokenizer of the first dataset that the run was trained on."""
    parts = [config, *config.get("parts", {}).values()]
    names = [part["data"]["name"] for part in parts if "name" in part["data"]]
    datasets = user_path(config["data"]["dir"])
    for name in names:
        path = tokenizer_path(datasets / user_path(name.split(",")[0].strip()))
        if path.is_file() and (tokenizer := Tokenizer.load(path)).identity == data["tokenizer"]:
            return tokenizer
    raise InputError(
        f"the tokenizer of the run in {workdir} is not in {config['data']['dir']}, where its data "
        f"were ({', '.join(names)}): export the run where they are"
    )


def _tasks(config: dict[str, Any]) -> tuple[dict[str, dict], dict[str, Any]]:
    """Returns downstream tasks by name, and the one whose limits and ranking search has."""
    parts = _parts(config)
    tasks = {
        name: _task(kind, parts.get(name, config))
        for name, kind in _trained_kinds(config)
        if TASKS[kind].query_type
    }
    first = next(iter(parts.values()), config)
    searching: dict[str, Any] = {"batch": _limits(first), "settings": {}}
    priority = 0
    for task in tasks.values():
        if TASKS[task["kind"]].search_priority > priority:
            searching, priority = task, TASKS[task["kind"]].search_priority
    return tasks, searching


def _parts(config: dict[str, Any]) -> dict[str, dict]:
    return {name.removeprefix("parts."): config[name] for name in config if "parts." in name}


def _trained_kinds(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields name and kind of each task that a run was trained for."""
    parts = _parts(config)
    for name, ratio in config["tasks"].items():
        kinds = [kind for kind in TASKS if kind in parts[name]] if name in parts else [name]
        yield from ((name, kind) for kind in kinds if ratio)


def _task(kind: str, part: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "settings": part[kind], "batch": _limits(part)}


def _limits(part: dict[str, Any]) -> dict[str, Any]:
    batch = complete_batch(part["batch"])
    return {name: batch[name] for name in LIMITS}


def _ranking(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns `RankingSettings`, those of TVR for what the settings of a task leave open."""
    names = [field.name for field in dataclasses.fields(RankingSettings)]
    given = {name: settings[name] for name in names if name in settings}
    return dataclasses.asdict(RankingSettings(**given))


def export(workdir: str | os.PathLike, out: str | os.PathLike, which: str | int = "latest") -> Path:
    """Writes the export of a run's checkpoint; see `hero_jax.inference.exported`.

    The folder appears whole or not at all.

    Raises:
      InputError: no such run, or `out` exists already or cannot be written to.
    """
    out = user_path(out)
    model, trained, _ = _read_run(workdir, which)
    if model.description["model"].get("fusion") == "sequence":
        raise InputError(
            f"the run in {workdir} has model.fusion='sequence', for which exports have no form: "
            "export a run with another fusion"
        )
    with new_folder(out) as folder:
        description = {**model.description, "trained": trained}
        _write(folder / exported.DESCRIPTION, json.dumps(description, indent=1))
        model.tokenizer.save(folder / exported.TOKENIZER)
        (folder / exported.WEIGHTS).write_bytes(safetensors.numpy.save(model.params))
        with ocp.PyTreeCheckpointer() as checkpointer:
            checkpointer.save((folder / "weights").absolute(), unflatten(model.params))
        compiled.write(model, folder / "compiled")
        _write(folder / "README.md", _card(model, trained))
    print(f"exported step {trained['step']} of {workdir} to {out}")
    return out


def export_torch(
    workdir: str | os.PathLike, out: str | os.PathLike, which: str | int = "latest"
) -> Path:
    """Writes a checkpoint as the original's state dict, which PyTorch reads; see `for_original`.

    Raises:
      InputError: no such run, or `out` cannot be written to.
    """
    model, trained, config = _read_run(workdir, which)
    params = for_original(model.params, {kind for _, kind in _trained_kinds(config)})
    vocab_size = model.description["model"]["vocab_size"]
    captioning = (t for t in model.tasks().values() if isinstance(t, Captioning))
    smoothing = next((task.settings.label_smoothing for task in captioning), 0.0)
    state_dict = to_state_dict(params, vocab_size, smoothing)
    write_state_dict(out, state_dict)
    print(f"exported step {trained['step']} of {workdir} to {out}: {len(state_dict)} arrays")
    return user_path(out)


def for_original(params: dict[str, np.ndarray], kinds: Collection[str]) -> dict[str, np.ndarray]:
    """Returns the parameters by path that the original's model for these kinds of tasks has.

    Ours has the heads of queries and of spans in any run. The original has them in pre-training and
    retrieval, and not beside the heads of questions, statements and captions.
    """
    if any(TASKS[kind].trains_search for kind in kinds) or not any(map(task_of_head, params)):
        return params
    return {path: x for path, x in params.items() if not path.startswith(_SEARCH_HEADS)}


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _card(model: exported.Exported, trained: dict[str, Any]) -> str:
    """Returns the model card, as Markdown."""
    description = model.description
    data, batch = description["data"], description["batch"]
    size = sum(np.size(value) for value in model.params.values())
    sources = "\n".join(
        f"- {source['name']}: {source['clips']} clips, {100 * source['share']:.3g}% of training"
        for source in trained["sources"]
    )
    metrics = table(trained["metrics"]) if trained["metrics"] else "  not evaluated"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"""# A HERO model

{size:,} parameters; trained {trained["step"]:,} steps for {
        ", ".join(description["tasks"]) or "pre-training"
    }.

## Trained on

{sources}

## Metrics of the split it was evaluated on

{metrics}

## What it reads

- features of {in_words(model.features.networks)}, of widths
  {" + ".join(map(str, data["feature_widths"]))}, one every {
        data["seconds_per_feature"]:g} s; at most {
        batch["max_frames"]
    } to a clip (longer ones are read in
  windows)
- subtitles of at most {batch["max_tokens"]} tokens, queries of at most {batch["max_query_tokens"]}
- its own tokenizer of {data["vocab_size"]} tokens

## Files

- `{exported.DESCRIPTION}`: the description, format {description["format"]}
- `{exported.WEIGHTS}`: parameters by path; `weights/`: the same for Orbax
- `{exported.TOKENIZER}`: for the `tokenizers` library
- `compiled/`: functions for CPU, GPU and TPU by `jax.export`; `compiled/README.md` has their
  arguments. They keep for a limited time and can be made again from the rest.

Identity `{description["identity"]}`; made with {versions}.
"""
