"""Loading the original's checkpoints: names, layouts, sizes and refusals."""

import json
import re

import numpy as np
import pytest
import safetensors.numpy

from data.errors import InputError
from hero_jax.conversion import original_names
from hero_jax.conversion.state_dict import ConversionReport, from_state_dict
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.models.params import flatten
from tests.golden.vectors import model_config, with_weights
from tests.hero_jax.conversion.state_dict_samples import (
    INNER,
    MODEL,
    TEXT_POSITIONS,
    TYPES,
    VOCABULARY,
    WIDTH,
    WORD,
    abstract_params,
    as_original,
    assert_same,
    load,
    random_params,
    without_padding,
)
from tests.hero_jax.conversion.torch.torch_archives import Storage, save_legacy, save_zip, tensor
from tests.paths import GOLDEN

EQUAL = GOLDEN / "equal"


# The original's checkpoints


def test_every_parameter_comes_back_from_the_originals_names():
    saved, initial = random_params(1, layers=2), random_params(2, layers=2)
    before = {path: array.copy() for path, array in initial.items()}
    params, report = load(as_original(saved), initial)
    assert_same(params, without_padding(saved))
    assert report == ConversionReport("hero.pt", len(saved), [], [], [])
    assert_same(initial, before)


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
    # Half precision, as checkpoints are often stored. The other name identifies the original.
    array = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    initial = random_params()
    params, report = load({"v_encoder.other": array, name: array}, initial)
    turned = array.T if path.endswith("/kernel") else array.reshape(initial[path].shape)
    assert_same(params, initial | {path: turned.astype(np.float32)})
    assert report.loaded == 1
    assert report.unused == ["v_encoder.other"]


def test_the_golden_weights_are_the_golden_models():
    weights = read_state_dict(EQUAL / "weights.npz")
    blocks, meta = (
        json.loads((EQUAL / name).read_text()) for name in ("model_config.json", "meta.json")
    )
    model = model_config(blocks, meta, weights)
    abstract = abstract_params(model)
    initial = {path: np.ones(p.shape, np.float32) for path, p in flatten(abstract).items()}
    params, report = from_state_dict(weights, initial, model.vocab_size, "golden")
    assert report == ConversionReport("golden", len(initial), [], [], [])
    # With these parameters the golden report reproduces the original's outputs.
    assert_same(params, flatten(with_weights(abstract, weights)))


def test_all_kinds_of_files_give_the_same(tmp_path):
    saved, initial = random_params(1), random_params(2)
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
        params, report = load(read_state_dict(path), initial)
        assert_same(params, without_padding(saved, extra=7))
        assert (report.loaded, report.missing, report.unused) == (len(saved), [], []), path
    assert len(list(tmp_path.iterdir())) == 4


def test_missing_and_unused_parameters_are_listed():
    saved, initial = random_params(1), random_params(2)
    state = as_original(saved)
    for name in ("video_query_linear.weight", "v_encoder.fom_output.linear_1.bias"):
        del state[name]
    state |= {"vqa_head.weight": np.zeros(3), "a.step": np.array(5)}
    params, report = load(state, initial)
    absent = ["span_head/query/kernel", "order_head/mlp/inner/bias"]
    assert_same(params, without_padding(saved) | {path: initial[path] for path in absent})
    assert report.loaded == len(saved) - 2
    assert sorted(report.missing) == [
        "v_encoder.fom_output.linear_1.bias",
        "video_query_linear.weight",
    ]
    assert report.unused == ["a.step", "vqa_head.weight"]
    assert report.resized == []


def test_the_report_names_every_parameter():
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


def test_padding_of_the_vocabulary_is_kept_if_ours_is_padded():
    saved, initial = random_params(1), random_params(2)
    params, report = load(as_original(saved, extra=7), initial)
    # Ours is padded to a larger multiple; its other rows are zero.
    assert_same(params, without_padding(saved, extra=7))
    assert len(params[WORD]) == 128 > VOCABULARY + 7
    assert sorted(report.resized) == [
        f"{original_names.WORDS}: 7 of 7 rows of padding kept",
        f"{original_names.WORD_BIAS}: 0 of 7 rows of padding kept",
    ]


def test_padding_that_ours_has_no_room_for_is_cut():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(131, WIDTH)).astype(np.float32)
    initial = {WORD: np.ones((128, WIDTH), np.float32)}
    params, report = from_state_dict({original_names.WORDS: table}, initial, 126, "hero.pt")
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
    saved, initial = random_params(1), random_params(2)
    name, rows = original_names.original_names([path])[path], len(initial[path])
    for theirs, taken, rest in (
        (rows + 3, rows, "the others not used"),
        (rows - 3, rows - 3, "the others left as initialized"),
    ):
        table = np.random.default_rng(3).normal(size=(theirs, WIDTH)).astype(np.float32)
        params, report = load(as_original(saved) | {name: table}, initial)
        expected = np.concatenate([table[:taken], initial[path][taken:]])
        assert_same(params, without_padding(saved) | {path: expected})
        assert report.resized == [f"{name}: {taken} rows taken, {rest}"]
        assert (report.loaded, report.missing, report.unused) == (len(initial), [], [])


def test_the_one_row_of_types_fills_both():
    saved, initial = random_params(1), random_params(2)
    state, name = as_original(saved), original_names.original_names([TYPES])[TYPES]
    state[name] = state[name][:1]
    params, report = load(state, initial)
    assert_same(params, without_padding(saved) | {TYPES: np.stack([saved[TYPES][0]] * 2)})
    assert report.resized == [f"{name}: its one row fills both"]


# State dicts that are refused


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
