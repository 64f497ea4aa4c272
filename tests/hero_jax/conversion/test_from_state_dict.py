"""Weights to start from: names, layouts and sizes of the original and RoBERTa, refusals."""

import functools
import json
import re

import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from data.errors import InputError
from hero_jax.conversion import original_names
from hero_jax.conversion.state_dict import ConversionReport, from_state_dict
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.models.hero import HERO
from hero_jax.models.params import flatten
from tests.golden.report import model_config, with_weights
from tests.hero_jax.conversion.torch.torch_archives import Storage, save_legacy, save_zip, tensor
from tests.hero_jax.tiny import make_config
from tests.paths import GOLDEN

EQUAL = GOLDEN / "equal"
CONFIG = make_config()
MODEL = CONFIG.model
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
    """A model's parameters by path, all random: among ones and zeros a mix-up would not show."""
    rng = np.random.default_rng(seed)
    return {
        path: rng.normal(size=shape).astype(np.float32) for path, shape in shapes(layers).items()
    }


def as_original(params, extra=0) -> dict[str, np.ndarray]:
    """Parameters as the original stores them, its vocabulary with `extra` rows of padding."""
    state = {
        original_names.original_name(path): np.ascontiguousarray(
            original_names.to_original_layout(path, value)
        )
        for path, value in params.items()
    }
    for name in (original_names.WORDS, original_names.WORD_BIAS):
        words = state[name][:VOCABULARY]
        state[name] = np.concatenate([words, np.full((extra, *words.shape[1:]), 7, np.float32)])
    return state | {original_names.TIED_WORDS: state[original_names.WORDS]}


def load(state, drawn):
    return from_state_dict(state, drawn, VOCABULARY, "hero.pt")


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for path, array in expected.items():
        assert got[path].dtype == np.float32, path
        np.testing.assert_array_equal(got[path], array, err_msg=path, strict=True)


def without_padding(params, extra=0):
    """Parameters whose vocabulary's table ends in zeros, as a loaded one does.

    Before them stand the `extra` rows of padding of `as_original`.
    """
    table = params[WORD].copy()
    table[VOCABULARY:] = 0
    table[VOCABULARY : VOCABULARY + extra] = 7
    return params | {WORD: table}


# The original's checkpoints


def test_every_parameter_comes_back_from_the_originals_names():
    saved, drawn = random_params(1, layers=2), random_params(2, layers=2)
    before = {path: array.copy() for path, array in drawn.items()}
    params, report = load(as_original(saved), drawn)
    assert_same(params, without_padding(saved))
    assert report == ConversionReport("hero.pt", len(saved), [], [], [])
    assert_same(drawn, before)


@pytest.mark.parametrize(
    ("name", "path", "shape"),
    [
        (
            "v_encoder.f_encoder.encoder.layer.0.attention.self.key.weight",
            "cross_modal/transformer/blocks/0/self_attention/attention/key/kernel",
            (WIDTH, WIDTH),
        ),
        (
            "v_encoder.c_encoder.encoder.layer.0.intermediate.dense.weight",
            "temporal/transformer/blocks/0/inner/kernel",
            (INNER, WIDTH),
        ),
        (
            "v_encoder.f_encoder.img_embeddings.img_linear.weight",
            "cross_modal/frame_embedding/linear/kernel",
            (WIDTH, MODEL.feature_size),
        ),
        ("q_feat_attn.modular_vector_mapping.weight", "query_head/pool/kernel", (1, WIDTH)),
        ("video_st_predictor.weight", "span_head/start", (1, 1, 5)),
        ("v_encoder.mask_embedding.weight", "mask_embedding", (2, MODEL.feature_size)),
        ("v_encoder.feat_regress.net.2.weight", "feature_head/mlp/norm/scale", (WIDTH,)),
    ],
)
def test_names_and_layouts_are_the_originals(name, path, shape):
    # Half precision, as checkpoints are often kept. The other name shows whose this one is.
    array = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    drawn = random_params()
    params, report = load({"v_encoder.other": array, name: array}, drawn)
    turned = array.T if path.endswith("/kernel") else array.reshape(drawn[path].shape)
    assert_same(params, drawn | {path: turned.astype(np.float32)})
    assert report.loaded == 1
    assert report.unused == ["v_encoder.other"]


def test_the_golden_weights_are_the_golden_models():
    weights = read_state_dict(EQUAL / "weights.npz")
    blocks, meta = (
        json.loads((EQUAL / name).read_text()) for name in ("model_config.json", "meta.json")
    )
    model = model_config(blocks, meta, weights)
    abstract = abstract_params(model)
    drawn = {path: np.ones(p.shape, np.float32) for path, p in flatten(abstract).items()}
    params, report = from_state_dict(weights, drawn, model.vocab_size, "golden")
    assert report == ConversionReport("golden", len(drawn), [], [], [])
    # With these the golden report finds the original's outputs.
    assert_same(params, flatten(with_weights(abstract, weights)))


def test_all_kinds_of_files_give_the_same(tmp_path):
    saved, drawn = random_params(1), random_params(2)
    state = as_original(saved, extra=7)
    np.savez(tmp_path / "hero.npz", **state)
    safetensors.numpy.save_file(state, tmp_path / "hero.safetensors")
    # Tied tensors share their storage, so its key goes by the array.
    content = {
        name: tensor(
            Storage(array, str(id(array))), 0, array.shape, [n // 4 for n in array.strides]
        )
        for name, array in state.items()
    }
    save_zip(tmp_path / "hero.pt", content)
    save_legacy(tmp_path / "hero.bin", {"model": content, "epoch": 3})
    for path in sorted(tmp_path.iterdir()):
        params, report = load(read_state_dict(path), drawn)
        assert_same(params, without_padding(saved, extra=7))
        assert (report.loaded, report.missing, report.unused) == (len(saved), [], []), path
    assert len(list(tmp_path.iterdir())) == 4


def test_what_is_missing_and_what_is_not_used_is_listed():
    saved, drawn = random_params(1), random_params(2)
    state = as_original(saved)
    for name in ("video_query_linear.weight", "v_encoder.fom_output.linear_1.bias"):
        del state[name]
    state |= {"vqa_head.weight": np.zeros(3), "a.step": np.array(5)}
    params, report = load(state, drawn)
    absent = ["span_head/query/kernel", "order_head/mlp/inner/bias"]
    assert_same(params, without_padding(saved) | {path: drawn[path] for path in absent})
    assert report.loaded == len(saved) - 2
    assert sorted(report.missing) == [
        "v_encoder.fom_output.linear_1.bias",
        "video_query_linear.weight",
    ]
    assert report.unused == ["a.step", "vqa_head.weight"]
    assert report.resized == []


def test_the_report_names_each():
    report = ConversionReport(
        "hero.pt", 3, ["a.weight", "b.weight"], [], ["c.weight: 2 rows taken"]
    )
    assert str(report).splitlines() == [
        "weights from hero.pt: 3 parameters loaded",
        "  missing: 2",
        "    a.weight",
        "    b.weight",
        "  unused: 0",
        "  resized: 1",
        "    c.weight: 2 rows taken",
    ]


# Sizes


def test_padding_of_the_vocabulary_is_kept_where_ours_is_padded():
    saved, drawn = random_params(1), random_params(2)
    params, report = load(as_original(saved, extra=7), drawn)
    # Ours is padded to other lengths: its further rows are zero.
    assert_same(params, without_padding(saved, extra=7))
    assert len(params[WORD]) == 128 > VOCABULARY + 7
    assert sorted(report.resized) == [
        f"{original_names.WORDS}: 7 of 7 rows of padding kept",
        f"{original_names.WORD_BIAS}: 0 of 7 rows of padding kept",
    ]


def test_padding_that_ours_has_no_room_for_is_cut():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(131, WIDTH)).astype(np.float32)
    drawn = {WORD: np.ones((128, WIDTH), np.float32)}
    params, report = from_state_dict({original_names.WORDS: table}, drawn, 126, "hero.pt")
    assert_same(params, {WORD: table[:128]})
    assert report.resized == [f"{original_names.WORDS}: 2 of 5 rows of padding kept"]


@pytest.mark.parametrize(
    "path",
    [
        TEXT_POSITIONS,
        "cross_modal/frame_embedding/position",
        "temporal/position",
        "query_head/position",
    ],
)
def test_tables_of_positions_may_be_longer_or_shorter(path):
    saved, drawn = random_params(1), random_params(2)
    name, rows = original_names.original_name(path), len(drawn[path])
    for theirs, taken, rest in (
        (rows + 3, rows, "the others not used"),
        (rows - 3, rows - 3, "the others left as drawn"),
    ):
        table = np.random.default_rng(3).normal(size=(theirs, WIDTH)).astype(np.float32)
        params, report = load(as_original(saved) | {name: table}, drawn)
        expected = np.concatenate([table[:taken], drawn[path][taken:]])
        assert_same(params, without_padding(saved) | {path: expected})
        assert report.resized == [f"{name}: {taken} rows taken, {rest}"]
        assert (report.loaded, report.missing, report.unused) == (len(drawn), [], [])


def test_the_one_row_of_types_fills_both():
    saved, drawn = random_params(1), random_params(2)
    state, name = as_original(saved), original_names.original_name(TYPES)
    state[name] = state[name][:1]
    params, report = load(state, drawn)
    assert_same(params, without_padding(saved) | {TYPES: np.stack([saved[TYPES][0]] * 2)})
    assert report.resized == [f"{name}: its one row fills both"]


# RoBERTa

ROBERTA_LAYERS = 12
# Of a layer: our module, RoBERTa's, and the widths that RoBERTa's maps from and to (none: a norm).
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
    """A linear map or a LayerNorm as PyTorch stores it."""
    shape = (WIDTH,) if widths is None else widths[::-1]
    return {
        f"{name}.weight": rng.normal(size=shape).astype(np.float32),
        f"{name}.bias": rng.normal(size=shape[0]).astype(np.float32),
    }


def make_roberta(prefix="roberta."):
    """A state dict with RoBERTa's names in Hugging Face's implementation.

    Without `lm_head.decoder.weight`, as in files of which tied tensors are stored once.
    """
    rng = np.random.default_rng(3)
    inner = {
        "embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        # As many positions as the model has and the two that RoBERTa itself skips.
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
    """What a model takes of a RoBERTa, by our paths."""
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
    # RoBERTa gives its first token row 2, after its padding index; the original, which loads this
    # table, row 0. So do we, and no row is moved.
    expected[TEXT_POSITIONS] = embeddings["position"][: MODEL.text_positions]
    expected[TYPES] = np.repeat(embeddings["token_type"], 2, axis=0)
    return expected


@pytest.mark.parametrize("prefix", ["roberta.", ""])
def test_every_second_layer_of_roberta(prefix):
    state, drawn = make_roberta(prefix), random_params(layers=6)
    expected = roberta_expected(state, prefix)
    params, report = load(state, drawn)
    assert_same(params, drawn | expected)
    assert report.loaded == len(expected)
    left = drawn.keys() - expected.keys()
    assert sorted(report.missing) == sorted(map(original_names.original_name, left))
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
def test_fewer_or_more_layers_are_taken_at_even_distances(layers, taken):
    state = make_roberta()
    params, _ = load(state, random_params(layers=layers))
    for ours, theirs in enumerate(taken):
        expected = state[f"roberta.encoder.layer.{theirs}.output.dense.bias"]
        found = params[f"cross_modal/transformer/blocks/{ours}/out/bias"]
        np.testing.assert_array_equal(found, expected)


def test_roberta_without_a_language_model_head():
    state = {name: a for name, a in make_roberta("").items() if not name.startswith("lm_head.")}
    drawn = random_params(layers=6)
    params, report = load(state, drawn)
    for path in (path for path in drawn if path.startswith("cross_modal/lm_head/")):
        np.testing.assert_array_equal(params[path], drawn[path])
        assert original_names.original_name(path) in report.missing


def test_robertas_table_under_its_second_name_is_used():
    state = make_roberta()
    state["lm_head.decoder.weight"] = state["roberta.embeddings.word_embeddings.weight"]
    report = load(state, random_params(layers=6))[1]
    assert "lm_head.decoder.weight" not in report.unused


def test_robertas_tables_that_are_not_tied_are_refused():
    state = make_roberta()
    state["lm_head.decoder.weight"] = state["roberta.embeddings.word_embeddings.weight"] + 1
    with pytest.raises(InputError, match=r"lm_head\.decoder\.weight"):
        load(state, random_params(layers=6))


# What is refused


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("v_encoder.f_encoder.img_embeddings.img_linear.weight", (WIDTH, 7), (WIDTH, 6)),
        ("v_encoder.f_encoder.encoder.layer.0.output.dense.weight", (WIDTH, 32), (WIDTH, INNER)),
        ("v_encoder.fom_output.linear_2.bias", (9,), (MODEL.max_frames,)),
        ("v_encoder.fom_output.linear_2.bias", (), (MODEL.max_frames,)),
        ("v_encoder.c_encoder.embeddings.position_embeddings.weight", (12, 8), (12, WIDTH)),
        ("v_encoder.f_encoder.embeddings.token_type_embeddings.weight", (3, WIDTH), (2, WIDTH)),
        ("v_encoder.mask_embedding.weight", (1, 6), (2, 6)),
        ("video_st_predictor.weight", (1, 1, 3), (1, 1, 5)),
        (original_names.WORD_BIAS, (VOCABULARY + 8,), (VOCABULARY,)),
        (original_names.WORD_BIAS, (VOCABULARY - 1,), (VOCABULARY,)),
        (original_names.WORDS, (VOCABULARY, 8), (VOCABULARY, WIDTH)),
        (original_names.WORDS, (VOCABULARY + 8, WIDTH), (VOCABULARY, WIDTH)),
        (original_names.WORDS, (VOCABULARY - 1, WIDTH), (VOCABULARY, WIDTH)),
        # As many rows as our padded table has.
        (original_names.WORDS, (128, WIDTH), (VOCABULARY, WIDTH)),
        (original_names.WORDS, (), (VOCABULARY, WIDTH)),
    ],
)
def test_an_array_of_another_size_is_named_with_both_shapes(name, theirs, ours):
    state = as_original(random_params(1)) | {name: np.zeros(theirs, np.float32)}
    sentence = f"hero.pt has {name} of shape {theirs}, where this model needs {ours}"
    with pytest.raises(InputError, match=re.escape(sentence)):
        load(state, random_params())


def test_tables_that_are_not_tied_are_refused():
    state = as_original(random_params(1))
    state[original_names.TIED_WORDS] = state[original_names.TIED_WORDS].copy()
    assert load(state, random_params())[1].unused == []
    state[original_names.TIED_WORDS][3, 5] += 1e-3
    names = f"{original_names.TIED_WORDS} unlike {original_names.WORDS}"
    with pytest.raises(InputError, match=re.escape(names)):
        load(state, random_params())


@pytest.mark.parametrize("name", ["bert.encoder.layer.1.output.dense.weight", "v_encoder.step"])
def test_a_state_dict_of_something_else_is_refused(name):
    state = {name: np.zeros((WIDTH, INNER), np.float32), "other": np.zeros(2)}
    with pytest.raises(InputError, match=rf"^hero\.pt has none of .* '{re.escape(name)}'"):
        load(state, random_params())
