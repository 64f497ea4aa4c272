"""Our parameters as the original's state dict: the inverse of `hero_jax.training.init_from`."""

import dataclasses
import re

import numpy as np

from data.errors import InputError
from hero_jax.conversion import original_names

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
class ConversionReport:
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


def from_state_dict(
    state_dict: dict[str, np.ndarray],
    drawn: dict[str, np.ndarray],
    vocab_size: int,
    source: str,
) -> tuple[dict[str, np.ndarray], ConversionReport]:
    """Puts the arrays of a PyTorch state dict, HERO's or RoBERTa's, in place of drawn ones.

    Args:
      state_dict: arrays by the source's names, linear kernels `[out, in]`.
      drawn: our parameters by path, as drawn.
      vocab_size: of the model, without padding.

    Raises:
      InputError: an array has another shape, or none is known.
    """
    names = _names(state_dict, drawn)
    params, report = dict(drawn), ConversionReport(source, 0, [], [], [])
    for path, value in drawn.items():
        name = names.get(path)
        if name not in state_dict:
            report.missing.append(original_names.original_name(path) or path)
            continue
        array = original_names.to_our_layout(path, state_dict[name]).astype(np.float32)
        params[path], how = _fit(path, array, value, vocab_size)
        if params[path] is None:
            needed = original_names.to_original_layout(path, value).shape
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
    names = {path: original_names.original_name(path) or "" for path in drawn}
    names[_TIED] = original_names.TIED_WORDS
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


def to_state_dict(params: dict[str, np.ndarray], vocab_size: int) -> dict[str, np.ndarray]:
    """Puts parameters under the original's names, in its layouts and sizes.

    The vocabulary's tables get as many rows as the original's have. In rows of padding stands what
    ours holds there, which for a loaded checkpoint is what that held; the bias, of which ours has
    none, has zeros.

    Args:
      params: by our paths.
      vocab_size: of the model, without padding.

    Returns:
      float32 arrays in C order, sorted by name. The table of words, which the original stores under
      two names, is one array under both.

    Raises:
      InputError: two heads are of one kind, or the original has no such head.
    """
    rows = -(-vocab_size // VOCABULARY_PADDING) * VOCABULARY_PADDING
    state = {}
    for name, path in _paths(params).items():
        array = original_names.to_original_layout(path, params[path])
        if name in (original_names.WORDS, original_names.WORD_BIAS):
            array = _of_length(array, rows)
        state[name] = np.ascontiguousarray(array, np.float32)
    state[original_names.TIED_WORDS] = state[original_names.WORDS]
    return dict(sorted(state.items()))


def _paths(params) -> dict[str, str]:
    """Which of our parameters goes under each of the original's names."""
    found = {}
    for path in params:
        name = original_names.original_name(path)
        if name is None:
            raise InputError(
                f"The original has no parameter for {path}; export a run without its task."
            )
        other = found.setdefault(name, path)
        if other != path:
            # All else has a name of its own.
            tasks = [one.split("/")[1] for one in (other, path)]
            raise InputError(
                f"The tasks {tasks[0]!r} and {tasks[1]!r} have heads of one kind, for which the "
                "original has one set of names; export a run with one of them."
            )
    return found


def _of_length(array, rows):
    """The first rows, or all and zeros."""
    missing = max(rows - len(array), 0)
    return np.pad(array[:rows], [(0, missing)] + [(0, 0)] * (array.ndim - 1))
