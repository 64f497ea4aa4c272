"""Starting from RoBERTa: names, layers, and parameters that it lacks."""

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.conversion.original_names import original_names
from tests.hero_jax.conversion.state_dict_samples import (
    INNER,
    MODEL,
    TEXT_POSITIONS,
    TYPES,
    VOCABULARY,
    WIDTH,
    WORD,
    assert_same,
    load,
    random_params,
)

ROBERTA_LAYERS = 12
# The modules of a layer: our name, RoBERTa's, and input and output width (None for a LayerNorm).
LAYER = [
    ("self_attention/attention/query", "attention.self.query", (WIDTH, WIDTH)),
    ("self_attention/attention/key", "attention.self.key", (WIDTH, WIDTH)),
    ("self_attention/attention/value", "attention.self.value", (WIDTH, WIDTH)),
    ("self_attention/attention/out", "attention.output.dense", (WIDTH, WIDTH)),
    ("self_attention/norm", "attention.output.LayerNorm", None),
    ("inner", "intermediate.dense", (WIDTH, INNER)),
    ("out", "output.dense", (INNER, WIDTH)),
    ("norm", "output.LayerNorm", None),
]


def module_arrays(rng, name, widths=None):
    """Returns the arrays of a linear map or a LayerNorm as PyTorch stores them."""
    shape = (WIDTH,) if widths is None else widths[::-1]
    return {
        f"{name}.weight": rng.normal(size=shape).astype(np.float32),
        f"{name}.bias": rng.normal(size=shape[0]).astype(np.float32),
    }


def make_roberta(prefix="roberta."):
    """Returns a state dict with the names of RoBERTa in Hugging Face's implementation.

    It has no `lm_head.decoder.weight`, as in files that store tied tensors once.
    """
    rng = np.random.default_rng(3)
    inner = {
        "embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        # The positions of the model, and two that RoBERTa itself skips.
        "embeddings.position_embeddings.weight": (MODEL.text_positions + 2, WIDTH),
        "embeddings.token_type_embeddings.weight": (1, WIDTH),
    }
    inner = {name: rng.normal(size=shape).astype(np.float32) for name, shape in inner.items()}
    inner |= {"embeddings.position_ids": np.arange(9)[None]}
    inner |= module_arrays(rng, "embeddings.LayerNorm")
    for number in range(ROBERTA_LAYERS):
        for _, name, widths in LAYER:
            inner |= module_arrays(rng, f"encoder.layer.{number}.{name}", widths)
    inner |= module_arrays(rng, "pooler.dense", (WIDTH, WIDTH))
    head = {"lm_head.bias": rng.normal(size=VOCABULARY).astype(np.float32)}
    head |= module_arrays(rng, "lm_head.dense", (WIDTH, WIDTH))
    head |= module_arrays(rng, "lm_head.layer_norm")
    return {prefix + name: array for name, array in inner.items()} | head


def roberta_expected(state, prefix):
    """Returns the parameters that a model takes from RoBERTa, by our paths."""
    modules = [
        (f"cross_modal/transformer/blocks/{ours}/{path}", f"{prefix}encoder.layer.{theirs}.{name}")
        for ours, theirs in enumerate((1, 3, 5, 7, 9, 11))
        for path, name, _ in LAYER
    ] + [
        ("cross_modal/text_embedding/norm", f"{prefix}embeddings.LayerNorm"),
        ("cross_modal/lm_head/dense", "lm_head.dense"),
        ("cross_modal/lm_head/norm", "lm_head.layer_norm"),
    ]
    expected = {"cross_modal/lm_head/bias": state["lm_head.bias"]}
    for path, name in modules:
        weight = state[f"{name}.weight"]
        expected[f"{path}/bias"] = state[f"{name}.bias"]
        expected[f"{path}/kernel" if weight.ndim == 2 else f"{path}/scale"] = weight.T
    embeddings = {
        name: state[f"{prefix}embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    }
    expected[WORD] = np.zeros((128, WIDTH), np.float32)
    expected[WORD][:VOCABULARY] = embeddings["word"]
    # RoBERTa's first token has row 2, after its padding index. The original, which loads this
    # table, starts with row 0, and so do we: no row is moved.
    expected[TEXT_POSITIONS] = embeddings["position"][: MODEL.text_positions]
    expected[TYPES] = np.repeat(embeddings["token_type"], 2, axis=0)
    return expected


@pytest.mark.parametrize("prefix", ["roberta.", ""])
def test_every_second_layer_is_loaded(prefix):
    state, initial = make_roberta(prefix), random_params(layers=6)
    expected = roberta_expected(state, prefix)
    params, report = load(state, initial)
    assert_same(params, initial | expected)
    assert report.loaded == len(expected)
    left = initial.keys() - expected.keys()
    assert sorted(report.missing) == sorted(original_names(left).values())
    assert {path.partition("/")[0] for path in left} == {
        *("cross_modal", "mask_embedding", "frame_projection", "temporal"),
        *("feature_head", "order_head", "query_head", "span_head"),
    }
    assert {path.split("/")[1] for path in left if path.startswith("cross_modal/")} == {
        "frame_embedding",
        "pooler",
    }
    skipped = [
        f"{prefix}encoder.layer.{number}.{name}.{leaf}"
        for number in range(0, ROBERTA_LAYERS, 2)
        for _, name, _ in LAYER
        for leaf in ("weight", "bias")
    ]
    others = ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"]
    assert report.unused == sorted(skipped + [prefix + name for name in others])
    embeddings = f"{prefix}embeddings."
    assert sorted(report.resized) == [
        f"{embeddings}position_embeddings.weight: 40 rows taken, the others not used",
        f"{embeddings}token_type_embeddings.weight: its one row fills both",
    ]


@pytest.mark.parametrize(
    ("layers", "taken"), [(1, [11]), (3, [3, 7, 11]), (4, [2, 5, 8, 11]), (12, range(12))]
)
def test_other_numbers_of_layers_are_loaded_at_even_distances(layers, taken):
    state = make_roberta()
    params, _ = load(state, random_params(layers=layers))
    for ours, theirs in enumerate(taken):
        expected = state[f"roberta.encoder.layer.{theirs}.output.dense.bias"]
        found = params[f"cross_modal/transformer/blocks/{ours}/out/bias"]
        np.testing.assert_array_equal(found, expected)


def test_roberta_without_a_language_model_head():
    state = {name: a for name, a in make_roberta("").items() if not name.startswith("lm_head.")}
    initial = random_params(layers=6)
    params, report = load(state, initial)
    names = original_names(path for path in initial if path.startswith("cross_modal/lm_head/"))
    for path, name in names.items():
        np.testing.assert_array_equal(params[path], initial[path])
        assert name in report.missing
    assert len(names) == 5


def test_the_table_under_its_second_name_is_not_unused():
    state = make_roberta()
    state["lm_head.decoder.weight"] = state["roberta.embeddings.word_embeddings.weight"]
    report = load(state, random_params(layers=6))[1]
    assert "lm_head.decoder.weight" not in report.unused


def test_tables_that_are_not_tied_are_refused():
    state = make_roberta()
    state["lm_head.decoder.weight"] = state["roberta.embeddings.word_embeddings.weight"] + 1
    with pytest.raises(InputError, match=r"lm_head\.decoder\.weight"):
        load(state, random_params(layers=6))
