"""Weights to start a run from: a run of ours, a checkpoint of the original, or RoBERTa's.

This is not resuming: a run resumes by itself from what is in its own workdir.
"""

import dataclasses
import pathlib
import re
import sys

import jax
import numpy as np

from data.errors import InputError
from hero_jax import original
from hero_jax.checkpoint import Checkpoints
from hero_jax.torch_file import read_state_dict

_ROBERTA_HEAD_NORM = "lm_head.layer_norm."
# Tables of positions may be longer or shorter than ours, vocabularies padded, type rows one or two.
_POSITIONS = re.compile(r"(^|/)position$")
_VOCABULARY = ("cross_modal/text_embedding/word", "cross_modal/lm_head/bias")
_TYPES = "cross_modal/text_embedding/token_type"
# A vocabulary padded to a multiple of this for the original's matrix units.
VOCABULARY_PADDING = 8
# Stands for the matrix of the language model head, which is the table of word embeddings.
_TIED = "tied"


@dataclasses.dataclass
class Report:
    """What became of every parameter, by the names of the source.

    missing: of the model, not in the source, so left as drawn; unused: of the source, not in the
    model; resized: taken in part or repeated, with how.
    """

    source: str
    loaded: int
    missing: list[str]
    unused: list[str]
    resized: list[str]

    def __str__(self):
        lines = [f"weights from {self.source}: {self.loaded} parameters loaded"]
        for name in ("missing", "unused", "resized"):
            entries = getattr(self, name)
            lines.append(f"  {name}: {len(entries)}")
            lines += [f"    {entry}" for entry in entries]
        return "\n".join(lines)


def initial_params(experiment):
    """Parameters from `config.init_from` on the devices, None if it is empty.

    Prints the report of what was missing, unused and resized.

    Raises:
      InputError: no such weights, or weights of another shape.
    """
    source = experiment.config.init_from
    if not source:
        return None
    path = pathlib.Path(source)
    # Drawing takes a while, so what is wrong with the path is said before.
    if path.is_dir():
        params, report = _from_run(experiment, path)
    else:
        state_dict = read_state_dict(path)
        drawn = experiment.program.host_params()
        vocab_size = experiment.config.model.vocab_size
        params, report = from_state_dict(state_dict, drawn, vocab_size, source)
    if jax.process_index() == 0:
        print(report, file=sys.stderr, flush=True)
    return experiment.program.place_params(params)


def _from_run(experiment, path):
    checkpoints = Checkpoints(path, best_metric=experiment.config.best_metric, read_only=True)
    step = checkpoints.find(experiment.config.checkpoint)
    if step is None:
        raise InputError(
            f"config.init_from={path} has no checkpoints; name the --workdir of a run, or a file."
        )
    experiment.check_model(checkpoints.about(step), f"The run in {path}")
    params, drawn = checkpoints.restore_params(step), experiment.program.host_params()
    return from_run(params, drawn, path, step)


def from_run(
    theirs: dict[str, np.ndarray], drawn: dict[str, np.ndarray], path: pathlib.Path, step: int
) -> tuple[dict[str, np.ndarray], Report]:
    """Puts a run's parameters in place of drawn ones, both by our paths.

    Args:
      path, step: of the run, for sentences.

    Raises:
      InputError: a parameter has another shape.
    """
    found = _same_parameters(theirs, drawn)
    for name, own in found.items():
        if theirs[own].shape != drawn[name].shape:
            raise InputError(
                f"The run in {path} has {own} of shape {theirs[own].shape}, where this model needs "
                f"{drawn[name].shape}; set the config of its task to that of the run."
            )
    report = Report(
        f"step {step} of {path}",
        len(found),
        sorted(drawn.keys() - found.keys()),
        sorted(theirs.keys() - set(found.values())),
        [],
    )
    return drawn | {name: theirs[own] for name, own in found.items()}, report


def _same_parameters(theirs, ours) -> dict[str, str]:
    """Which of their paths each of ours is: the same, or a head's that has another task's name."""
    by_name: dict[str, list[str]] = {}
    for path in theirs:
        by_name.setdefault(original.original_name(path), []).append(path)
    found = {path: path for path in ours if path in theirs}
    for path in ours.keys() - found.keys():
        candidates = by_name.get(original.original_name(path), [])
        # Of two heads of a kind nobody can tell which is meant.
        if len(candidates) == 1:
            found[path] = candidates[0]
    return found


def from_state_dict(
    state_dict: dict[str, np.ndarray],
    drawn: dict[str, np.ndarray],
    vocab_size: int,
    source: str,
) -> tuple[dict[str, np.ndarray], Report]:
    """Puts the arrays of a PyTorch state dict, HERO's or RoBERTa's, in place of drawn ones.

    Args:
      state_dict: arrays by the source's names, linear kernels `[out, in]`.
      drawn: our parameters by path, as drawn.
      vocab_size: of the model, without padding.

    Raises:
      InputError: an array has another shape, or none is known.
    """
    names = _names(state_dict, drawn)
    params, report = dict(drawn), Report(source, 0, [], [], [])
    for path, value in drawn.items():
        name = names.get(path)
        if name not in state_dict:
            report.missing.append(original.original_name(path))
            continue
        array = original.to_our_layout(path, state_dict[name]).astype(np.float32)
        params[path], how = _fit(path, array, value, vocab_size)
        if params[path] is None:
            needed = original.to_original_layout(path, value).shape
            if path in _VOCABULARY:
                needed = (vocab_size, *needed[1:])
            raise InputError(
                f"{source} has {name} of shape {state_dict[name].shape}, where this model needs "
                f"{needed}; set config.model to the sizes of the checkpoint."
            )
        report.loaded += 1
        if how:
            report.resized.append(f"{name}: {how}")
    known = {names[path] for path in names if names[path] in state_dict}
    words, tied = names[_VOCABULARY[0]], names[_TIED]
    if {words, tied} <= known and not np.array_equal(state_dict[tied], state_dict[words]):
        raise InputError(
            f"{source} has {tied} unlike {words}, which are one table in HERO; use a checkpoint in "
            "which they are tied."
        )
    report.unused = sorted(state_dict.keys() - known)
    if not report.loaded:
        raise InputError(
            f"{source} has none of HERO's or RoBERTa's parameters (its first is "
            f"{next(iter(state_dict))!r}); name a checkpoint of one of them."
        )
    return params, report


def _names(state_dict, drawn) -> dict[str, str]:
    """The source's name of each of our parameters, and of the tied matrix."""
    names = {path: original.original_name(path) for path in drawn}
    names[_TIED] = original.TIED_WORDS
    if any(name.startswith("v_encoder.") for name in state_dict):
        return names
    prefix = "roberta." if any(name.startswith("roberta.") for name in state_dict) else ""
    theirs, ours = _num_layers(state_dict), _num_layers(n for n in names.values() if ".f_" in n)
    stride = max(theirs // ours, 1) if ours else 1
    return {path: _roberta_name(name, prefix, stride) for path, name in names.items()}


def _num_layers(names) -> int:
    found = (re.search(r"encoder\.layer\.(\d+)\.", name) for name in names)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _roberta_name(name: str, prefix: str, stride: int) -> str:
    """RoBERTa's name for a parameter of HERO that starts from it, '' for others.

    Of its layers the last of every `stride` is taken: 1, 3, 5, 7, 9, 11 of 12 for HERO's 6.
    """
    inner = name.removeprefix("v_encoder.f_encoder.")
    if inner == name or inner.startswith(("img_embeddings.", "pooler.")):
        return ""
    if inner.startswith("lm_head."):
        return inner.replace("lm_head.LayerNorm.", _ROBERTA_HEAD_NORM)
    layer = re.match(r"encoder\.layer\.(\d+)\.", inner)
    if layer:
        number = stride * (int(layer[1]) + 1) - 1
        inner = f"encoder.layer.{number}." + inner[layer.end() :]
    return prefix + inner


def _fit(path, array, value, vocab_size):
    """The array in the shape of ours and how it was changed ('' for not), or None."""
    if path in _VOCABULARY:
        if array.ndim != value.ndim or array.shape[1:] != value.shape[1:]:
            return None, ""
        extra = len(array) - vocab_size
        if not 0 <= extra < VOCABULARY_PADDING:
            return None, ""
        # Nothing reads rows of padding, but the original's table is to come back as it was. Our
        # bias has none.
        fitted = np.zeros_like(value)
        rows = min(len(array), len(fitted))
        fitted[:rows] = array[:rows]
        kept = f"{rows - vocab_size} of {extra} rows of padding kept"
        return fitted, kept if extra else ""
    if array.shape == value.shape:
        return array, ""
    if array.shape[1:] != value.shape[1:] or array.ndim != value.ndim:
        return None, ""
    if path == _TYPES and len(array) == 1:
        return np.repeat(array, len(value), axis=0), "its one row fills both"
    if _POSITIONS.search(path):
        rows = min(len(array), len(value))
        fitted = np.concatenate([array[:rows], value[rows:]])
        rest = "the others left as drawn" if rows < len(value) else "the others not used"
        return fitted, f"{rows} rows taken, {rest}"
    return None, ""
