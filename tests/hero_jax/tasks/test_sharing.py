"""Heads that tasks share: one for questions and statements, one for captions."""

import jax
import numpy as np
import pytest
from flax import nnx

from configs import tvc
from data.errors import InputError
from hero_jax.conversion.original_names import original_names
from hero_jax.models.hero import HERO
from hero_jax.models.params import flatten
from hero_jax.tasks.registry import make_task
from hero_jax.tasks.sharing import make_heads
from tests.hero_jax.random_models import random_model
from tests.hero_jax.tasks.test_choices import TOGETHER, pack
from tests.hero_jax.tiny import TOKENS, make_config

MODEL = make_config().model
CAPTIONS = tvc.get_config("shapes").captioning.to_dict()


def tasks(**settings):
    """Tasks by name, of (kind, settings)."""
    return {name: make_task(*one, TOKENS, name) for name, one in settings.items()}


def paths(made):
    heads = make_heads(made, MODEL)
    return flatten(nnx.eval_shape(lambda: nnx.state(HERO(MODEL, heads, rngs=nnx.Rngs(0)))))


def test_questions_events_and_statements_have_one_head_and_captions_one():
    shared = {"head": "qa"}
    made = tasks(
        violin=("inference", shared),
        tvqa=("question_answering", shared),
        vlep=("question_answering", shared),
        tvc=("captioning", CAPTIONS | {"head": "captions"}),
        yc2c=("captioning", CAPTIONS | {"head": "captions"}),
        own=("inference", {}),
    )
    names = original_names(paths(made))
    assert list(make_heads(made, MODEL)) == ["qa", "captions", "own"]
    assert names["heads/qa/answer/pool/kernel"] == "qa_pool.weight"
    assert names["heads/qa/span_mlp/out/bias"] == "st_ed_pred_head.linear_2.bias"
    assert names["heads/captions/position"] == "position_embeddings.weight"
    assert names["heads/own/pool/kernel"] == "violin_pool.weight"


def test_a_statement_has_the_logit_of_the_part_for_answers():
    made = tasks(violin=("inference", {"head": "qa"}), tvqa=("question_answering", {"head": "qa"}))
    graphdef, params = random_model(MODEL, make_heads(made, MODEL))

    @jax.jit
    def logits(params, batch):
        module = nnx.merge(graphdef, params)
        return [task.logits(module, batch, None) for task in made.values()]

    batch = pack("statement", [[1, 2]], TOGETHER)
    of_statements, (of_answers, _, _) = logits(params, batch)
    there = batch["choice_mask"]
    np.testing.assert_allclose(of_statements[there], of_answers[there], rtol=1e-6)
    assert len(np.unique(np.asarray(of_statements)[there])) == there.sum()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("captioning", CAPTIONS), ("captioning", CAPTIONS | {"decoder_layers": 3})),
        (("question_answering", {}), ("captioning", CAPTIONS)),
    ],
    ids=["other size", "other kind"],
)
def test_different_heads_of_one_name_are_refused(first, second):
    (kind, one), (other_kind, other) = first, second
    made = tasks(tvc=(kind, one | {"head": "all"}), yc2c=(other_kind, other | {"head": "all"}))
    with pytest.raises(InputError, match=r"^tasks tvc and yc2c name one head, 'all', and need"):
        make_heads(made, MODEL)


def test_a_name_with_a_slash_is_refused():
    with pytest.raises(InputError, match=r"^inference\.head='a/b' has to be a name of letters"):
        make_task("inference", {"head": "a/b"}, TOKENS)
