"""Parameters from and to PyTorch state dicts with the names of HERO, and from those of RoBERTa."""

import dataclasses
import re
from collections.abc import Iterable, Mapping

import numpy as np

from data.errors import InputError
from hero_jax.conversion import original_names

# The original pads the vocabulary to a multiple of this, for the matrix units, and has as many rows
# of zeros to pad what its heads read.
VOCABULARY_PADDING = 8
# Words of the original's longest caption, and what it adds to the logits of later words.
_MASKED_WORDS = 1024
_MASKED = -1e4

_ROBERTA_HEAD_NORM = "lm_head.layer_norm."
# Parameters whose sizes may differ: tables of positions may be longer or shorter than ours,
# vocabularies may be padded, and there may be one token type instead of two.
_POSITIONS = re.compile(r"(^|/)position$")
_VOCABULARY = ("cross_modal/text_embedding/word", "cross_modal/lm_head/bias")
_TYPES = "cross_modal/text_embedding/token_type"
# Key for the matrix of the language model head, which is the table of word embeddings.
_TIED = "tied"


@dataclasses.dataclass
class ConversionReport:
    """The outcome for every parameter, by the names of the source.

    Attributes:
      source: the file or run, for messages.
      loaded: number of parameters that were loaded.
      missing: parameters of the model that the source lacks; they stay as initialized.
      unused: parameters of the source that the model lacks.
      resized: parameters that were loaded in part or repeated, and how.
    """

    source: str
    loaded: int
    missing: list[str]
    unused: list[str]
    resized: list[str]

    def __str__(self) -> str:
        lines = [f"weights from {self.source}: {self.loaded} parameters loaded"]
        for name in ("missing", "unused", "resized"):
            entries = getattr(self, name)
            lines.append(f"  {name}: {len(entries)}")
            lines += [f"    {entry}" for entry in entries]
        return "\n".join(lines)


def from_state_dict(
    state_dict: Mapping[str, np.ndarray],
    initial: Mapping[str, np.ndarray],
    vocab_size: int,
    source: str,
) -> tuple[dict[str, np.ndarray], ConversionReport]:
    """Replaces initial parameters by the arrays of a PyTorch state dict of HERO or RoBERTa.

    Args:
      state_dict: arrays by the source's names, linear kernels `[out, in]`.
      initial: our parameters by path, as initialized.
      vocab_size: size of the model's vocabulary, without padding.
      source: name of the source for messages.

    Returns:
      Float32 parameters by path, and the report.

    Raises:
      InputError: an array has another shape, the two copies of the word embeddings differ, or the
        state dict has none of the parameters.
    """
    our_names = original_names.original_names(initial)
    names = _source_names(state_dict, our_names)
    params, report = dict(initial), ConversionReport(source, 0, [], [], [])
    for path, value in initial.items():
        name = names[path]
        if name not in state_dict:
            report.missing.append(our_names[path] or path)
            continue
        array = original_names.to_our_layout(path, state_dict[name]).astype(np.float32)
        fitted, change = _fit(path, array, value, vocab_size)
        if fitted is None:
            expected = _expected_shape(path, value, vocab_size)
            raise InputError(
                f"{source} has {name} of shape {state_dict[name].shape}, where this model needs "
                f"{expected}: set the sizes of the model to those of the checkpoint"
            )
        params[path] = fitted
        report.loaded += 1
        if change:
            report.resized.append(f"{name}: {change}")
    known = {name for name in names.values() if name in state_dict}
    words, tied = names[_VOCABULARY[0]], names[_TIED]
    if {words, tied} <= known and not np.array_equal(state_dict[tied], state_dict[words]):
        raise InputError(
            f"{source} has {tied} unlike {words}, which are one table in HERO: use a checkpoint in "
            "which they are tied"
        )
    report.unused = sorted(state_dict.keys() - known - original_names.BUFFERS)
    if not report.loaded:
        raise InputError(
            f"{source} has none of HERO's or RoBERTa's parameters (its first is "
            f"{next(iter(state_dict))!r}): use a checkpoint of one of them"
        )
    return params, report


def _source_names(
    state_dict: Mapping[str, np.ndarray], our_names: Mapping[str, str | None]
) -> dict[str, str]:
    """Returns the source's name of each of our parameters and of the tied matrix, '' for none."""
    names = {path: name or "" for path, name in our_names.items()}
    names[_TIED] = original_names.TIED_WORDS
    if any(name.startswith("v_encoder.") for name in state_dict):
        return names
    prefix = "roberta." if any(name.startswith("roberta.") for name in state_dict) else ""
    roberta_layers = _num_layers(state_dict)
    our_layers = _num_layers(name for name in names.values() if ".f_" in name)
    stride = max(roberta_layers // our_layers, 1) if our_layers else 1
    return {path: _roberta_name(name, prefix, stride) for path, name in names.items()}


def _num_layers(names: Iterable[str]) -> int:
    matches = (re.search(r"encoder\.layer\.(\d+)\.", name) for name in names)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def _roberta_name(name: str, prefix: str, stride: int) -> str:
    """Returns RoBERTa's name for a parameter of HERO that starts from it, '' for others.

    HERO's layers start from the last of every `stride` layers of RoBERTa: with 6 of 12 layers from
    1, 3, 5, 7, 9 and 11.
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


def _fit(
    path: str, array: np.ndarray, value: np.ndarray, vocab_size: int
) -> tuple[np.ndarray | None, str]:
    """Returns the array in the shape of our value, and how it was changed ('' if it was not).

    The array is None if it does not fit.
    """
    if array.ndim != value.ndim or array.shape[1:] != value.shape[1:]:
        return None, ""
    if path in _VOCABULARY:
        return _fit_vocabulary(array, value, vocab_size)
    if array.shape == value.shape:
        return array, ""
    if path == _TYPES and len(array) == 1:
        return np.repeat(array, len(value), axis=0), "its one row fills both"
    if _POSITIONS.search(path):
        rows = min(len(array), len(value))
        fitted = np.concatenate([array[:rows], value[rows:]])
        rest = "the others left as initialized" if rows < len(value) else "the others not used"
        return fitted, f"{rows} rows taken, {rest}"
    return None, ""


def _fit_vocabulary(
    array: np.ndarray, value: np.ndarray, vocab_size: int
) -> tuple[np.ndarray | None, str]:
    """Returns `_fit` for the table of words and for the bias of their logits."""
    padding = len(array) - vocab_size
    if not 0 <= padding < VOCABULARY_PADDING:
        return None, ""
    # Rows of padding are never read, but they are kept so that an export gives back the original's
    # table. Our bias has no padding.
    fitted = np.zeros_like(value)
    rows = min(len(array), len(fitted))
    fitted[:rows] = array[:rows]
    return fitted, f"{rows - vocab_size} of {padding} rows of padding kept" if padding else ""


def _expected_shape(path: str, value: np.ndarray, vocab_size: int) -> tuple[int, ...]:
    """Returns the shape in the original's layout of the array that fits our value."""
    shape = original_names.to_original_layout(path, value).shape
    return (vocab_size, *shape[1:]) if path in _VOCABULARY else shape


def to_state_dict(
    params: Mapping[str, np.ndarray], vocab_size: int, label_smoothing: float = 0.0
) -> dict[str, np.ndarray]:
    """Returns parameters under the original's names, in its layouts and sizes, and its buffers.

    The tables of the vocabulary get as many rows as in the original. Rows of padding keep our
    values, so that a loaded checkpoint gets its own values back. Our bias has no padding and is
    padded with zeros.

    Args:
      params: arrays by our paths.
      vocab_size: size of the model's vocabulary, without padding.
      label_smoothing: of captioning.

    Returns:
      Float32 arrays in C order, sorted by name. The table of words, which the original stores under
      two names, is the same array under both.

    Raises:
      InputError: the original has no head like one of the heads, or two heads are of one kind.
    """
    rows = -(-vocab_size // VOCABULARY_PADDING) * VOCABULARY_PADDING
    state_dict = {}
    for name, path in _paths_by_name(params).items():
        array = original_names.to_original_layout(path, params[path])
        if name in (original_names.WORDS, original_names.WORD_BIAS):
            array = _with_rows(array, rows)
        state_dict[name] = np.ascontiguousarray(array, np.float32)
    state_dict[original_names.TIED_WORDS] = state_dict[original_names.WORDS]
    state_dict |= _buffers(state_dict, label_smoothing)
    return dict(sorted(state_dict.items()))


def _buffers(state_dict: Mapping[str, np.ndarray], label_smoothing: float) -> dict[str, np.ndarray]:
    """Returns the constants that the original's state dict has beside its parameters."""
    rows, size = state_dict[original_names.WORDS].shape
    buffers = {
        name: np.zeros((VOCABULARY_PADDING, size), np.float32) for name in original_names.PADS
    }
    if any(name.startswith("v_encoder.sub_embeddings.") for name in state_dict):
        buffers[original_names.UNUSED_WORDS] = np.zeros((rows, size), np.float32)
    if any(name.startswith("decoder.") for name in state_dict):
        later = 1 - np.tril(np.ones((_MASKED_WORDS, _MASKED_WORDS), np.float32))
        buffers[original_names.CAUSAL_MASK] = later * np.float32(_MASKED)
        if label_smoothing:
            share = label_smoothing / (rows - 1)
            buffers[original_names.SMOOTHED_LABEL] = np.full((1, rows), share, np.float32)
    return buffers


def _paths_by_name(params: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Returns the path of our parameter for each of the original's names."""
    paths: dict[str, str] = {}
    for path, name in original_names.original_names(params).items():
        task = original_names.task_of_head(path)
        if name is None:
            missing = f"head like that of task {task!r}" if task else f"parameter like {path}"
            raise InputError(f"the original has no {missing}: export a run without it")
        other = paths.setdefault(name, path)
        if other != path:
            raise InputError(
                f"tasks {original_names.task_of_head(other)!r} and {task!r} have heads of one "
                "kind, for which the original has one set of names: export a run with one of them"
            )
    return paths


def _with_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """Returns the first `rows` rows, or all rows followed by zeros."""
    missing = max(rows - len(array), 0)
    return np.pad(array[:rows], [(0, missing)] + [(0, 0)] * (array.ndim - 1))
