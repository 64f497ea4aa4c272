"""Names of the original: known parameters and heads have one, heads of new kinds have none."""

import re

import numpy as np
import pytest
from flax import nnx

from configs import tvc
from hero_jax.conversion.original_names import original_names, task_of_head
from hero_jax.conversion.state_dict import from_state_dict
from hero_jax.models.hero import HERO
from hero_jax.models.params import flatten
from hero_jax.tasks.registry import make_task
from tests.hero_jax.conversion.state_dict_samples import (
    MODEL,
    VOCABULARY,
    as_original,
    assert_same,
    random_params,
)
from tests.hero_jax.tiny import TOKENS
from tests.paths import GOLDEN

EQUAL = GOLDEN / "equal"
# Parameters of heads like VIOLIN's and TVC's, by path in the head.
VIOLIN_HEAD = {
    "pool/kernel",
    *("mlp/inner/kernel", "mlp/inner/bias", "mlp/norm/scale", "mlp/norm/bias"),
    *("mlp/out/kernel", "mlp/out/bias"),
}
NORM_HEAD = {"position", "norm/scale", "norm/bias"}


def all_tasks():
    captioning = tvc.get_config("shapes").captioning.to_dict() | {"decoder_layers": 2}
    return {
        "any_qa": make_task("question_answering", {}, TOKENS),
        "any_violin": make_task("inference", {}, TOKENS),
        "any_tvc": make_task("captioning", captioning, TOKENS),
    }


def paths_of_all():
    """Returns the paths of a model with a head of each kind."""
    heads = {name: task.make_head for name, task in all_tasks().items()}
    return flatten(nnx.eval_shape(lambda: nnx.state(HERO(MODEL, heads, rngs=nnx.Rngs(0)))))


def test_every_parameter_has_its_own_name_that_the_original_uses():
    names = original_names(paths_of_all())
    assert list(names) == list(paths_of_all())
    assert None not in names.values()
    assert len(set(names.values())) == len(names)
    known = {"v_encoder.f_encoder.lm_head.decoder.weight"}
    for file, prefix in (
        ("weights", ""),
        *((kind, "weights/") for kind in ("video_qa", "violin", "captioning")),
    ):
        with np.load(EQUAL / f"{file}.npz") as arrays:
            known |= {name.removeprefix(prefix) for name in arrays if name.startswith(prefix)}
    # The golden models may have more layers.
    for name in names.values():
        assert re.sub(r"layer\.\d+", "layer.0", name) in known, name


def test_parts_of_the_encoder_have_their_names_alone():
    path = "temporal/transformer/blocks/11/inner/kernel"
    name = "v_encoder.c_encoder.encoder.layer.11.intermediate.dense.weight"
    assert original_names([path]) == {path: name}
    for unknown in ("temporal/transformer/blocks/0/extra/kernel", "pool/kernel", "norm/scale"):
        assert original_names([unknown]) == {unknown: None}


@pytest.mark.parametrize(
    "head",
    [
        VIOLIN_HEAD | {"extra/kernel"},
        VIOLIN_HEAD - {"mlp/out/bias"},
        {"pool/kernel", "pool/bias"},
        VIOLIN_HEAD | {"answer/pool/kernel"},
        NORM_HEAD,
        NORM_HEAD | {"layers/0/inner/kernel"},
        {"span_pool/kernel"},
    ],
    ids=lambda head: min(head),
)
def test_a_head_of_a_new_kind_has_no_names(head):
    known = {f"heads/violin/{path}" for path in VIOLIN_HEAD}
    toy = {f"heads/toy/{path}" for path in head}
    names = original_names(known | toy)
    assert {path for path, name in names.items() if name is None} == toy
    assert names["heads/violin/pool/kernel"] == "violin_pool.weight"


def test_a_head_of_a_new_kind_is_missing_from_a_state_dict():
    initial = random_params(1)
    toy = {f"heads/toy/{path}": np.ones(2, np.float32) for path in VIOLIN_HEAD | {"extra/kernel"}}
    saved = random_params(2)
    violin = {"violin_pool.weight": np.zeros((1, 2), np.float32)}
    params, report = from_state_dict(as_original(saved) | violin, initial | toy, VOCABULARY, "a.pt")
    assert_same({path: params[path] for path in toy}, toy)
    assert sorted(report.missing) == sorted(toy)
    assert report.unused == ["violin_pool.weight"]
    assert report.loaded == len(initial)


def test_the_task_of_a_head():
    assert task_of_head("heads/toy/pool/kernel") == "toy"
    assert task_of_head("span_head/query/kernel") is None
