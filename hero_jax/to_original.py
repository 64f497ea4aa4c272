"""Our parameters as the original's state dict: the inverse of `hero_jax.init_from`."""

import numpy as np

from data.errors import InputError
from hero_jax import original
from hero_jax.init_from import VOCABULARY_PADDING


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
      InputError: two heads are of one kind.
    """
    rows = -(-vocab_size // VOCABULARY_PADDING) * VOCABULARY_PADDING
    state = {}
    for name, path in _paths(params).items():
        array = original.to_original_layout(path, params[path])
        if name in (original.WORDS, original.WORD_BIAS):
            array = _of_length(array, rows)
        state[name] = np.ascontiguousarray(array, np.float32)
    state[original.TIED_WORDS] = state[original.WORDS]
    return dict(sorted(state.items()))


def _paths(params) -> dict[str, str]:
    """Which of our parameters goes under each of the original's names."""
    found = {}
    for path in params:
        other = found.setdefault(original.original_name(path), path)
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
