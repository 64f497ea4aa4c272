"""Weights to start from: heads of downstream tasks, by what they are, not what they are called."""

import functools
import pathlib
import re

import numpy as np
import pytest

from configs import tvc
from data.errors import InputError
from hero_jax.conversion.state_dict import ConversionReport, from_state_dict
from hero_jax.models.params import flatten
from hero_jax.tasks.registry import make_task
from hero_jax.training.init_from import from_run
from tests.hero_jax.random_models import random_model
from tests.hero_jax.tiny import TOKENS, make_config

MODEL = make_config().model
WIDTH, VOCABULARY = MODEL.hidden_size, MODEL.vocab_size
CAPTIONS = tvc.get_config("shapes").captioning
RUN = pathlib.Path("runs/all")
QUESTIONS = ("question_answering", {})
STATEMENTS = ("inference", {})


def captioning(**changes):
    return "captioning", {**CAPTIONS.to_dict(), **changes}


def make_params(tasks, seed=0) -> dict[str, np.ndarray]:
    """A model's parameters by path, with a head for each of these tasks by name."""
    heads = {name: make_task(*task, TOKENS, name).make_head for name, task in tasks.items()}
    state = random_model(MODEL, heads, seed)[1]
    return {path: np.asarray(value) for path, value in flatten(state).items()}


@functools.cache
def of_many_tasks():
    """A run of several tasks, two of which have the same kind of head."""
    tasks = {
        "tvqa": QUESTIONS,
        "violin": STATEMENTS,
        "another": STATEMENTS,
        "tvc": captioning(),
    }
    return make_params(tasks, seed=1)


def without_heads(params):
    return {path: value for path, value in params.items() if not path.startswith("heads/")}


def head(params, name):
    """A head's parameters by their paths in it."""
    start = f"heads/{name}/"
    return {p.removeprefix(start): value for p, value in params.items() if p.startswith(start)}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path, strict=True)


# Runs


@pytest.mark.parametrize(
    ("kind", "theirs"), [(QUESTIONS, "tvqa"), (captioning(), "tvc")], ids=["tvqa", "tvc"]
)
def test_a_head_is_taken_from_a_task_of_another_name(kind, theirs):
    saved, drawn = of_many_tasks(), make_params({"own_name": kind})
    params, report = from_run(saved, drawn, RUN, 7)
    assert params.keys() == drawn.keys()
    assert_same(without_heads(params), without_heads(saved))
    assert head(drawn, "own_name")
    assert_same(head(params, "own_name"), head(saved, theirs))
    others = [path for path in saved if path.startswith("heads/") and f"/{theirs}/" not in path]
    assert report == ConversionReport(f"step 7 of {RUN}", len(drawn), [], sorted(others), [])


def test_of_two_heads_of_a_kind_none_is_taken_for_a_third():
    saved, drawn = of_many_tasks(), make_params({"inference": STATEMENTS})
    params, report = from_run(saved, drawn, RUN, 7)
    assert_same(params, drawn | without_heads(saved))
    assert report.loaded == len(without_heads(saved))
    assert report.missing == sorted(path for path in drawn if path.startswith("heads/"))
    assert report.unused == sorted(path for path in saved if path.startswith("heads/"))


def test_of_two_heads_of_a_kind_the_one_of_the_same_name_is_taken():
    saved, drawn = of_many_tasks(), make_params({"another": STATEMENTS})
    params, report = from_run(saved, drawn, RUN, 7)
    assert_same(params, {path: saved[path] for path in drawn})
    assert report.missing == []


def test_what_a_run_of_pre_training_lacks_is_left_as_drawn():
    saved, drawn = make_params({}, seed=1), make_params({"tvqa": QUESTIONS})
    params, report = from_run(saved, drawn, RUN, 7)
    assert_same(params, drawn | saved)
    assert report.missing == sorted(path for path in drawn if path.startswith("heads/"))
    assert (report.loaded, report.unused) == (len(saved), [])


def test_a_head_of_another_size_is_named_with_both_shapes():
    drawn = make_params({"captioning": captioning(decoder_positions=40)})
    sentence = (
        f"the run in {RUN} has heads/tvc/position of shape ({CAPTIONS.decoder_positions}, {WIDTH}),"
        f" where this model needs (40, {WIDTH}): set the settings of its task to those of the run"
    )
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        from_run(of_many_tasks(), drawn, RUN, 7)


# The original's checkpoints


def mlp(name, size):
    return {
        f"{name}.linear_1.weight": (2 * WIDTH, WIDTH),
        f"{name}.linear_1.bias": (2 * WIDTH,),
        f"{name}.LayerNorm.weight": (2 * WIDTH,),
        f"{name}.LayerNorm.bias": (2 * WIDTH,),
        f"{name}.linear_2.weight": (size, 2 * WIDTH),
        f"{name}.linear_2.bias": (size,),
    }


# Names and shapes of the original's heads.
OF_QUESTIONS = {
    "qa_pool.weight": (1, WIDTH),
    **mlp("qa_pred_head", 1),
    "st_ed_pool.weight": (1, WIDTH),
    **mlp("st_ed_pred_head", 2),
}
OF_STATEMENTS = {"violin_pool.weight": (1, WIDTH), **mlp("violin_pred_head", 1)}


@pytest.mark.parametrize(
    ("kind", "shapes", "by_hand"),
    [
        (
            QUESTIONS,
            OF_QUESTIONS,
            {
                "answer/pool/kernel": "qa_pool.weight",
                "answer/mlp/norm/scale": "qa_pred_head.LayerNorm.weight",
                "span_mlp/out/kernel": "st_ed_pred_head.linear_2.weight",
            },
        ),
        (
            STATEMENTS,
            OF_STATEMENTS,
            {
                "pool/kernel": "violin_pool.weight",
                "mlp/inner/kernel": "violin_pred_head.linear_1.weight",
                "mlp/out/bias": "violin_pred_head.linear_2.bias",
            },
        ),
    ],
    ids=["questions", "statements"],
)
def test_the_originals_heads_go_to_a_task_of_any_name(kind, shapes, by_hand):
    drawn, rng = make_params({"own_name": kind}), np.random.default_rng(0)
    theirs = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    # The other name shows whose these are.
    state = theirs | {"v_encoder.other": np.zeros(3)}
    params, report = from_state_dict(state, drawn, VOCABULARY, "hero.pt")
    assert_same(without_heads(params), without_heads(drawn))
    own = head(params, "own_name")
    assert report.loaded == len(own) == len(shapes)
    assert report.unused == ["v_encoder.other"]
    for path, name in by_hand.items():
        np.testing.assert_array_equal(own[path], theirs[name].T, err_msg=path, strict=True)
    # Every one has come to a place of its own.
    found = sorted(np.sort(value, axis=None).tobytes() for value in own.values())
    assert found == sorted(np.sort(value, axis=None).tobytes() for value in theirs.values())


def test_the_originals_heads_of_other_tasks_are_not_used():
    drawn = make_params({"tvqa": QUESTIONS})
    state = {
        name: np.zeros(shape, np.float32) for name, shape in (OF_QUESTIONS | OF_STATEMENTS).items()
    }
    state["v_encoder.mask_embedding.weight"] = np.zeros_like(drawn["mask_embedding"])
    report = from_state_dict(state, drawn, VOCABULARY, "hero.pt")[1]
    assert report.loaded == len(OF_QUESTIONS) + 1
    assert report.unused == sorted(OF_STATEMENTS)


def test_a_head_of_the_original_of_another_size_is_refused():
    drawn = make_params({"tvqa": QUESTIONS})
    name = "st_ed_pred_head.linear_2.weight"
    state = {name: np.zeros((3, 2 * WIDTH), np.float32), "v_encoder.other": np.zeros(3)}
    sentence = f"hero.pt has {name} of shape (3, {2 * WIDTH}), where this model needs (2, "
    with pytest.raises(InputError, match=re.escape(sentence)):
        from_state_dict(state, drawn, VOCABULARY, "hero.pt")
