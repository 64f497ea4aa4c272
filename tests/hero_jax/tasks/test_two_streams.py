"""Predictions of two models together: means of probabilities, and of logits word by word."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from data.errors import InputError
from hero_jax.models.heads import OUTSIDE
from hero_jax.models.hero import HERO
from hero_jax.tasks import two_streams
from hero_jax.tasks.generating import generate_captions
from hero_jax.tasks.registry import make_task
from tests.hero_jax.caption_batches import moments_batch
from tests.hero_jax.models.test_decoding import MOMENTS, captioning_task
from tests.hero_jax.tasks.test_choice_scores import QUESTIONS, STATEMENTS, statement_predictions
from tests.hero_jax.tiny import TOKENS, make_clips, make_config


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def choices(logits, numbers):
    """Predictions of a batch of a question in each group."""
    mask = np.array(logits) > OUTSIDE
    return {
        "logits": np.array(logits)[:, None],
        "choice_mask": mask[:, None],
        "query_numbers": np.repeat(np.array(numbers)[:, None, None], 3, axis=2),
    }


def test_answers_have_the_mean_probability_whatever_the_order():
    first = choices([[1.0, 2.0, OUTSIDE], [0.0, 3.0, -1.0]], [7, 2])
    second = choices([[4.0, 0.0, 0.0], [5.0, 1.0, OUTSIDE]], [2, 7])
    found = two_streams.complete((QUESTIONS, QUESTIONS), (None, None), (first, second), None)
    expected = [
        (softmax([1.0, 2.0, OUTSIDE]) + softmax([5.0, 1.0, OUTSIDE])) / 2,
        (softmax([0.0, 3.0, -1.0]) + softmax([4.0, 0.0, 0.0])) / 2,
    ]
    np.testing.assert_allclose(np.exp(found["logits"][:, 0]), expected, rtol=1e-6)
    np.testing.assert_array_equal(found["query_numbers"], first["query_numbers"])


def test_statements_have_the_mean_probability_whatever_the_order():
    first = statement_predictions()
    second = {name: x[::-1] for name, x in statement_predictions().items()}
    second["logits"] = second["logits"] + 1.5
    found = two_streams.complete((STATEMENTS, STATEMENTS), (None, None), (first, second), None)
    asked = first["choice_mask"]
    logits = first["logits"][asked]
    mean = (1 / (1 + np.exp(-logits)) + 1 / (1 + np.exp(-logits - 1.5))) / 2
    np.testing.assert_allclose(1 / (1 + np.exp(-found["logits"][asked])), mean, rtol=1e-6)
    np.testing.assert_array_equal(found["logits"][asked] > 0, mean > 0.5)


@pytest.mark.parametrize("decoding", ["greedy", "beam", "sample"])
def test_a_model_with_itself_writes_what_it_writes_alone(decoding):
    """The records of the second are in another order."""
    task = captioning_task(decoding=decoding)
    model = HERO(make_config().model, {"tvc": task.make_head}, rngs=nnx.Rngs(3))
    graphdef, params = nnx.split(model)
    batch = moments_batch([list(enumerate(make_clips(4)))], [MOMENTS], make_config())

    @functools.partial(jax.jit)
    def run(params, batch):
        module = nnx.merge(graphdef, params)
        decoder = task.decoder(module)
        alone = generate_captions(module, decoder, batch, settings=task.settings, tokens=TOKENS)
        return alone, two_streams.stream_task(task).predict(module, batch)

    alone, frames = jax.device_get(run(params, batch))
    reversed_frames = {name: x[:, ::-1] for name, x in frames.items()}
    found = two_streams.complete((task, task), (model, model), (frames, reversed_frames), None)
    mask = batch["query_mask"]
    np.testing.assert_array_equal(found["query_numbers"], batch["query_numbers"][mask])
    np.testing.assert_array_equal(found["tokens"], alone[mask])
    assert len({tuple(row) for row in found["tokens"].tolist()}) > 1


def test_tasks_of_other_kinds_are_refused():
    with pytest.raises(InputError, match=r"^task mlm of kind mlm has no form for two streams"):
        two_streams.stream_task(make_task("mlm", {"mask_probability": 0.1}, TOKENS))
