"""What `config.init_from` names becomes the parameters of a new run."""

import re

import jax
import numpy as np
import pytest

from data.errors import InputError
from hero_jax import original
from hero_jax.checkpoint import Checkpoints
from hero_jax.experiment import Experiment
from hero_jax.init_from import initial_params


@pytest.fixture(scope="module")
def quickly_compiled():
    """Drawing a tiny model takes far longer to compile than to run."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def experiment(runs, quickly_compiled):
    """Makes an experiment."""
    return lambda **settings: Experiment(runs.config(**settings))


def random_params(experiment, seed):
    """Random parameters of its model by path; rows of padding of the vocabulary are zero."""
    rng = np.random.default_rng(seed)
    shapes = original.flatten(experiment.program.abstract_state().params)
    params = {name: rng.normal(size=x.shape).astype(np.float32) for name, x in shapes.items()}
    params["cross_modal/text_embedding/word"][experiment.config.model.vocab_size :] = 0
    return params


def assert_placed(params, experiment, expected):
    """Parameters are as expected, and on the mesh where they belong."""
    found = original.flatten(params)
    assert found.keys() == expected.keys()
    places = original.flatten(experiment.program.shardings.params)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
        assert array.sharding == places[name]


def test_nothing_to_start_from(experiment, capsys):
    assert initial_params(experiment()) is None
    assert capsys.readouterr() == ("", "")


def test_a_file_is_read_placed_and_reported(experiment, tmp_path, capsys):
    path = tmp_path / "hero.npz"
    new = experiment(init_from=str(path))
    expected, vocabulary = random_params(new, 1), new.config.model.vocab_size
    state = {
        original.original_name(name): original.to_original_layout(name, array)
        for name, array in expected.items()
    }
    state[original.WORDS] = state[original.WORDS][:vocabulary]
    absent = state.pop(original.original_name("temporal/pooler/bias"))
    np.savez(path, **state)
    params = initial_params(new)
    # As it is drawn.
    assert_placed(params, new, expected | {"temporal/pooler/bias": np.zeros_like(absent)})
    output, report = capsys.readouterr()
    assert output == ""
    assert report.startswith(f"weights from {path}: {len(expected) - 1} parameters loaded\n")
    assert "  missing: 1\n    v_encoder.c_encoder.pooler.dense.bias\n" in report


def test_a_runs_checkpoint_is_the_one_chosen(experiment, tmp_path, capsys):
    old, checkpoints = experiment(), Checkpoints(tmp_path, keep=2)
    saved = {step: random_params(old, step) for step in (3, 5)}
    for step, flat in saved.items():
        state = old.program.start_from(old.program.place_params(flat))
        checkpoints.save(step, state, np.zeros((2, 2), np.int32), old.about())
    checkpoints.finish()
    new = experiment(init_from=str(tmp_path), checkpoint="3", seed=5, model__dropout=0.3)
    assert_placed(initial_params(new), new, saved[3])
    report = capsys.readouterr().err
    assert f"weights from step 3 of {tmp_path}: {len(saved[3])} parameters loaded\n" in report
    assert report.count(": 0\n") == 3
    wider = experiment(init_from=str(tmp_path), model__hidden_size=32)
    sentence = f"The run in {tmp_path} has config.model.hidden_size=16, not 32"
    with pytest.raises(InputError, match=re.escape(sentence)):
        initial_params(wider)


def test_a_folder_without_checkpoints_is_refused(experiment, tmp_path):
    with pytest.raises(InputError, match=f"init_from={re.escape(str(tmp_path))} has no checkp"):
        initial_params(experiment(init_from=str(tmp_path)))
    assert not list(tmp_path.iterdir())
