"""Random parameters, and state dicts of the original with them."""

import functools

import numpy as np
from flax import nnx

from hero_jax.conversion import original_names
from hero_jax.conversion.state_dict import from_state_dict
from hero_jax.models.hero import HERO
from hero_jax.models.params import flatten
from tests.hero_jax.tiny import make_config

MODEL = make_config().model
VOCABULARY, WIDTH, INNER = MODEL.vocab_size, MODEL.hidden_size, MODEL.intermediate_size
WORD = "cross_modal/text_embedding/word"
TYPES = "cross_modal/text_embedding/token_type"
TEXT_POSITIONS = "cross_modal/text_embedding/position"


def abstract_params(model) -> nnx.State:
    return nnx.split(nnx.eval_shape(lambda: HERO(model, rngs=nnx.Rngs(0))), nnx.Param)[1]


@functools.cache
def shapes(layers):
    config = make_config()
    config.model.cross_modal_layers = layers
    return {path: p.shape for path, p in flatten(abstract_params(config.model)).items()}


def random_params(seed=0, layers=1) -> dict[str, np.ndarray]:
    """Returns random parameters by path; constant ones would hide that two are mixed up."""
    rng = np.random.default_rng(seed)
    return {
        path: rng.normal(size=shape).astype(np.float32) for path, shape in shapes(layers).items()
    }


def as_original(params, extra=0) -> dict[str, np.ndarray]:
    """Returns parameters as the original stores them, with `extra` rows of padding."""
    names = original_names.original_names(params)
    state = {
        names[path]: np.ascontiguousarray(original_names.to_original_layout(path, value))
        for path, value in params.items()
    }
    for name in (original_names.WORDS, original_names.WORD_BIAS):
        words = state[name][:VOCABULARY]
        state[name] = np.concatenate([words, np.full((extra, *words.shape[1:]), 7, np.float32)])
    return state | {original_names.TIED_WORDS: state[original_names.WORDS]}


def load(state, initial):
    return from_state_dict(state, initial, VOCABULARY, "hero.pt")


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for path, array in expected.items():
        assert got[path].dtype == np.float32, path
        np.testing.assert_array_equal(got[path], array, err_msg=path, strict=True)


def without_padding(params, extra=0):
    """Returns parameters whose table of words ends in zeros, as that of a loaded checkpoint does.

    The `extra` rows of padding of `as_original` come before the zeros.
    """
    table = params[WORD].copy()
    table[VOCABULARY:] = 0
    table[VOCABULARY : VOCABULARY + extra] = 7
    return params | {WORD: table}
