"""An update is the same however its batches lie on the mesh."""

import jax
import numpy as np
import pytest

from configs import pretrain
from data.errors import InputError
from hero_jax import sharding
from hero_jax.division import divide
from hero_jax.models.params import flatten
from hero_jax.tasks.registry import make_tasks
from hero_jax.training.step import Program
from tests.hero_jax.tiny import TOKENS, make_clips, make_config, pack

GROUPS, ACCUMULATION = 4, 2
# Axis sizes of a mesh, groups of a batch, and candidates that are those of groups of four clips.
DIVISIONS = {
    "data=8, two batches at once": ((8, 1, 1), 4, "group"),
    "data=8, groups over two devices": ((8, 1, 1), 8, "4"),
    "data=4, tensor=2": ((4, 1, 2), 4, "group"),
}


def train(sizes, groups, candidates, updates=2, **mesh):
    """Metrics of each update on all tasks at once, and the parameters after them."""
    config = make_config()
    clips = list(enumerate(make_clips(GROUPS * 4 * ACCUMULATION)))
    config.batch.update(
        groups=groups, clips_per_group=GROUPS * 4 // groups, accumulation=ACCUMULATION
    )
    # What dropout drops depends on where clips are packed, and so on their groups.
    config.model.update(dropout=0.0, attention_dropout=0.0)
    # Of the tasks, those that look at other shards, whose loss is weighted beside theirs.
    config.tasks.update(mlm=0.0, fom=0.0, vsm=0.5)
    config.mfm_nce.candidates = candidates
    config.mesh.update(dict(zip(sharding.AXES, sizes, strict=True)))
    config.mesh.update(mesh)
    config.optimizer.update(learning_rate=1e-2, steps=10, warmup_steps=0)
    config.vsm.update(span_drop_probability=0.0, hard_negatives_from=1, hard_pool=2)
    devices = jax.devices()[: int(np.prod(sizes))]
    program = Program(config, make_tasks(config, TOKENS), sharding.make_mesh(config.mesh, devices))
    division = divide(program.mesh, config)
    size = config.batch.clips_per_group
    in_groups = [clips[start : start + size] for start in range(0, len(clips), size)]
    batches = [
        pack(in_groups[start : start + groups], config)
        for start in range(0, len(in_groups), groups)
    ]
    state, placed = program.init(), division.to_devices(batches)
    history = []
    for _ in range(updates):
        state, metrics = program.train_step(state, placed, "all")
        history.append(jax.device_get(metrics))
    moments = state.opt_state[1].mu
    whole = jax.tree.map(lambda x: x.sharding.is_fully_replicated, moments)
    return history, jax.device_get(flatten(state.params)), all(jax.tree.leaves(whole))


@pytest.fixture(scope="module")
def one_device(eight_devices):
    return eight_devices(train, (1, 1, 1), GROUPS, "group")


@pytest.mark.slow
@pytest.mark.parametrize("name", DIVISIONS)
def test_losses_and_parameters_are_those_of_one_device(eight_devices, one_device, name):
    history, params, _ = eight_devices(train, *DIVISIONS[name])
    for found, expected in zip(history, one_device[0], strict=True):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6, err_msg=key)
    for path, value in one_device[1].items():
        np.testing.assert_allclose(params[path], value, atol=2e-4, err_msg=path)


@pytest.mark.parametrize(
    ("sizes", "batch", "sentence"),
    [
        ((8, 1, 1), {"groups": 3}, r"batch\.groups=3 .*nearest that does is batch\.groups=8;"),
        ((4, 1, 1), {"groups": 2}, r"nearest .*batch\.groups=4 with batch\.clips_per_group=2"),
    ],
)
def test_what_does_not_divide_is_refused(eight_devices, sizes, batch, sentence):
    with pytest.raises(InputError, match=sentence):
        eight_devices(divide_of, sizes, batch)


def divide_of(sizes, batch):
    config = pretrain.get_config()
    config.batch.update(clips_per_group=4, accumulation=1, **batch)
    config.mesh.update(dict(zip(sharding.AXES, sizes, strict=True)))
    divide(sharding.make_mesh(config.mesh, jax.devices()[: int(np.prod(sizes))]), config)
