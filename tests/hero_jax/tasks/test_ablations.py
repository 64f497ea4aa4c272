"""The paper's ablations: other encoders, any tasks, both objectives, wider candidates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs.finetune import PRETRAINING
from data.errors import InputError
from hero_jax import sharding
from hero_jax.models.batch import pick_in_frame_rows
from hero_jax.models.params import flatten
from hero_jax.tasks import masking, mfm
from hero_jax.tasks.base import Context
from hero_jax.tasks.matching import matching_losses
from hero_jax.tasks.registry import make_tasks
from hero_jax.training.step import Program
from hero_jax.training.task_draws import draw_task
from tests.hero_jax.tiny import MAX_FRAMES, TOKENS, make_clips, make_config, make_module, pack

CLIPS = list(enumerate(make_clips(8)))
# Parameters that an encoder has and does not use.
UNUSED = {
    "text_only": ("cross_modal/pooler", "temporal/pooler", "cross_modal/frame_embedding"),
    "flat": ("cross_modal/pooler", "temporal", "frame_projection", "mask_embedding", "order_head"),
}


def tasks_config(encoder="hierarchical", **ratios):
    """The tiny config with these tasks and no others, and without dropout."""
    config = make_config(encoder)
    config.tasks.update({name: ratios.get(name, 0.0) for name in config.tasks})
    config.model.update(dropout=0.0, attention_dropout=0.0)
    config.vsm.span_drop_probability = 0.0
    config.optimizer.update(learning_rate=1e-2, steps=100, warmup_steps=0)
    return config


def make_program(config):
    return Program(
        config, make_tasks(config, TOKENS), sharding.make_mesh(config.mesh, jax.devices()[:1])
    )


def start_of(program):
    """Returns a new state; compiling all draws at once, as `Program.init` does, takes longer."""
    return program.start_from(nnx.split(make_module(program.config), nnx.Param)[1])


def make_batch(config):
    """One batch `[accumulation, G, ...]` of a group of four clips."""
    return jax.tree.map(lambda x: x[None], pack([CLIPS[:4]], config))


@pytest.mark.parametrize("encoder", UNUSED)
def test_the_other_encoders_train_on_the_tasks_they_support(encoder):
    supported = {name: 1.0 for name in PRETRAINING if (encoder, name) != ("flat", "fom")}
    config = tasks_config(encoder, **supported)
    program, batch = make_program(config), make_batch(config)
    state = start_of(program)
    before = flatten(jax.device_get(state.params))
    losses = []
    for _ in range(6):
        state, metrics = program.train_step(state, batch, "all")
        losses.append(jax.device_get(metrics))
    for name in supported:
        total, count = losses[0][f"{name}/loss"]
        assert np.isfinite(total)
        assert count > 0
    # On the same clips in every step the loss falls, whatever is masked.
    assert np.mean([m["loss"] for m in losses[-3:]]) < np.mean([m["loss"] for m in losses[:3]])
    after = flatten(state.params)
    same = [path for path, value in before.items() if np.array_equal(value, after[path])]
    assert [path for path in same if not path.startswith(UNUSED[encoder])] == []
    assert int(state.step) == 6


def test_the_flat_encoder_cannot_order_frames():
    with pytest.raises(InputError, match=r"tasks\.fom.*flat"):
        make_tasks(tasks_config("flat", fom=1.0), TOKENS)


@pytest.mark.parametrize("names", [["mlm"], ["vsm", "mffr"], list(PRETRAINING)])
def test_any_tasks_may_be_trained(names):
    config = tasks_config(**dict.fromkeys(names, 1.0))
    assert set(make_tasks(config, TOKENS)) == set(names)
    assert {draw_task(config, step) for step in range(200)} == set(names)


def test_tasks_are_drawn_by_their_ratios():
    config = tasks_config(mlm=2.0, fom=1.0, vsm=5.0)
    drawn = [draw_task(config, step) for step in range(4000)]
    for name, share in (("mlm", 2 / 8), ("fom", 1 / 8), ("vsm", 5 / 8)):
        assert abs(drawn.count(name) / 4000 - share) < 5 * np.sqrt(share * (1 - share) / 4000)
    assert drawn == [draw_task(config, step) for step in range(4000)]
    config.seed += 1
    assert drawn != [draw_task(config, step) for step in range(4000)]


def test_tasks_that_make_no_sense_are_refused():
    config = tasks_config()
    with pytest.raises(InputError, match=r"all of tasks are 0"):
        make_tasks(config, TOKENS)
    config.tasks.mlm = -1.0
    with pytest.raises(InputError, match=r"tasks\.mlm=-1\.0 is negative"):
        make_tasks(config, TOKENS)
    config.tasks.dance = 1.0
    config.tasks.mlm = 1.0
    with pytest.raises(InputError, match=r"tasks\.dance.*mlm, mfm_nce"):
        make_tasks(config, TOKENS)


WEIGHTS = {"mffr": 2.0, "mlm": 0.5}


@pytest.fixture(scope="module")
def gradient():
    """Returns loss and gradient of a task on groups of clips, each in a batch of its own."""
    config = tasks_config(**WEIGHTS)
    # Each layer is compiled into each step.
    config.model.temporal_layers = 0
    program = make_program(config)
    start = start_of(program)
    copy = jax.jit(lambda state: jax.tree.map(jnp.copy, state))

    def gradient(name, *batches):
        batch = jax.tree.map(lambda *x: np.stack(x), *(pack([clips], config) for clips in batches))
        # A step uses up the state that it is given.
        state, metrics = program.train_step(copy(start), batch, name)
        # The first moment after one step is the gradient, clipped by its norm, times 1 - beta.
        adam = state.opt_state[1]
        norm = float(metrics["gradient_norm"])
        scale = max(norm / config.optimizer.max_gradient_norm, 1.0)
        return float(metrics["loss"]), jax.tree.map(lambda m: np.asarray(m) * scale, adam.mu)

    return gradient


def test_the_weighted_sum_is_the_weighted_sum_of_the_tasks(gradient):
    alone = {name: gradient(name, CLIPS[:4]) for name in WEIGHTS}
    loss, summed = gradient("all", CLIPS[:4])
    assert abs(loss - sum(w * alone[name][0] for name, w in WEIGHTS.items())) < 1e-4
    expected = jax.tree.map(
        lambda *parts: sum(w * part for w, part in zip(WEIGHTS.values(), parts, strict=True)),
        *(alone[name][1] for name in WEIGHTS),
    )
    largest = max(np.abs(x).max() for x in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * largest), summed, expected
    )


def test_two_batches_an_update_are_their_mean(gradient):
    parts = CLIPS[:4], CLIPS[4:]
    first, second = (gradient("mffr", part) for part in parts)
    loss, mean = gradient("mffr", *parts)
    assert abs(loss - (first[0] + second[0]) / 2) < 1e-4
    jax.tree.map(
        lambda m, a, b: np.testing.assert_allclose(m, (a + b) / 2, atol=1e-5),
        mean,
        first[1],
        second[1],
    )


def looped_contrast(prediction, truth, masked, valid):
    """Cross-entropy of each masked frame among the candidates of one set of clips."""
    candidates = np.where(masked[..., None], truth, prediction)[valid]
    own = np.cumsum(valid.ravel()).reshape(valid.shape) - 1
    losses, found = [], 0
    for place in np.argwhere(masked):
        place = tuple(place)
        logits = candidates @ prediction[place]
        losses.append(
            np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[own[place]]
        )
        found += int(logits.argmax() == own[place])
    return {
        "loss": sum(losses),
        "correct": found,
        "count": len(losses),
        "chance": len(losses) / len(candidates),
    }


@pytest.mark.parametrize("candidates", ["group", "batch"])
def test_candidates_are_those_of_a_group_or_of_the_batch(candidates):
    config = make_config()
    config.batch.update(groups=2, frame_rows_per_group=2, frame_row_length=2 * MAX_FRAMES)
    batch = pack([CLIPS[:3], CLIPS[3:7]], config)
    graphdef, params = nnx.split(make_module(config))

    @jax.jit
    def contrast(params):
        module = nnx.merge(graphdef, params)
        masked = masking.mask_frames(batch, jax.random.key(0), probability=0.3)
        in_rows = pick_in_frame_rows(masked, batch, False)
        prediction = module.feature_head(module.encode_frames(batch, masked=in_rows))
        return in_rows, prediction, mfm.contrast(module, batch, masked, candidates, 0.15, None)

    masked, prediction, found = contrast(params)
    # In float64, so that the loop is the more exact of the two.
    prediction = np.asarray(prediction, np.float64)
    truth = batch["frame_features"].astype(np.float64)
    masked, valid = np.asarray(masked), batch["frame_place"] >= 0
    sets = [(g,) for g in range(2)] if candidates == "group" else [(0, 1)]
    looped = [
        looped_contrast(
            *(x[list(one)].reshape(-1, *x.shape[2:]) for x in (prediction, truth, masked, valid))
        )
        for one in sets
    ]
    for name, value in found.items():
        np.testing.assert_allclose(value, sum(one[name] for one in looped), rtol=1e-4)


def test_the_span_loss_is_left_out_of_its_share_of_steps():
    config = tasks_config(vsm=1.0)
    config.vsm.update(context_weight=0.0, query_weight=0.0, span_weight=1.0)
    config.vsm.span_drop_probability = 0.8
    task = make_tasks(config, TOKENS)["vsm"]
    batch = pack([CLIPS[:4]], config)
    graphdef, params = nnx.split(make_module(config))

    @jax.jit
    def losses(keys):
        module = nnx.merge(graphdef, params)
        context = Context(key=keys[0], dropout_key=jax.random.key(0), step=0)
        parts, _ = matching_losses(module, batch, context, task.settings)

        def total(key):
            keep = dataclasses.replace(context, key=key)
            return task.loss(module, batch, keep)[0]

        evaluated = task.loss(module, batch, dataclasses.replace(context, dropout_key=None))[0]
        return jax.vmap(total)(keys), parts["span"], evaluated

    totals, span, evaluated = losses(jax.random.split(jax.random.key(0), 500))
    kept = np.asarray(totals) > 0
    np.testing.assert_allclose(totals[kept], span, rtol=1e-5)
    assert abs(kept.mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 500)
    np.testing.assert_allclose(evaluated, span, rtol=1e-4)


def test_hard_negatives_count_from_their_step_on():
    config = tasks_config(vsm=1.0)
    config.vsm.update(hard_negatives_from=5, hard_pool=1, hard_weight=10.0)
    task = make_tasks(config, TOKENS)["vsm"]
    batch = pack([CLIPS[:4]], config)
    graphdef, params = nnx.split(make_module(config))

    @jax.jit
    def loss(step):
        context = Context(key=jax.random.key(0), dropout_key=None, step=step)
        return task.loss(nnx.merge(graphdef, params), batch, context)[0]

    values = [float(loss(jnp.asarray(step))) for step in (0, 4, 5, 6)]
    assert values[0] == values[1]
    assert values[2] == values[3]
    assert values[1] != values[2]
