"""The weights that `config.init_from` names become the parameters of a new run."""

import re

import numpy as np
import pytest

from data.errors import InputError
from hero_jax.conversion import original_names
from hero_jax.experiment.experiment import Experiment
from hero_jax.models.params import flatten
from hero_jax.training.checkpoint import Checkpoints
from hero_jax.training.init_from import initial_params
from hero_jax.training.step import Program


@pytest.fixture
def experiment(runs):
    """Makes an experiment."""
    return lambda **settings: Experiment(runs.config(**settings))


def program_of(experiment):
    return Program(experiment.config, experiment.tasks, experiment.mesh)


def random_params(experiment, seed):
    """Random parameters of the model by path; padding rows of the vocabulary are zero."""
    rng = np.random.default_rng(seed)
    shapes = flatten(program_of(experiment).abstract_state().params)
    params = {name: rng.normal(size=x.shape).astype(np.float32) for name, x in shapes.items()}
    params["cross_modal/text_embedding/word"][experiment.config.model.vocab_size :] = 0
    return params


def assert_placed(params, experiment, expected):
    """Compares parameters, and their places on the mesh, with those expected."""
    found = flatten(params)
    assert found.keys() == expected.keys()
    places = flatten(program_of(experiment).shardings.params)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
        assert array.sharding == places[name]


def test_nothing_to_start_from(experiment, capsys):
    new = experiment()
    assert initial_params(new, program_of(new)) is None
    assert capsys.readouterr() == ("", "")


def test_a_file_is_read_placed_and_reported(experiment, tmp_path, capsys):
    path = tmp_path / "hero.npz"
    new = experiment(init_from=str(path))
    expected, vocabulary = random_params(new, 1), new.config.model.vocab_size
    names = original_names.original_names(expected)
    state = {
        names[name]: original_names.to_original_layout(name, array)
        for name, array in expected.items()
    }
    state[original_names.WORDS] = state[original_names.WORDS][:vocabulary]
    absent = state.pop(names["temporal/pooler/bias"])
    np.savez(path, **state)
    params = initial_params(new, program_of(new))
    # The bias is drawn, as zeros.
    assert_placed(params, new, expected | {"temporal/pooler/bias": np.zeros_like(absent)})
    output, report = capsys.readouterr()
    assert output == ""
    assert report.startswith(f"weights from {path}: {len(expected) - 1} parameters loaded\n")
    assert "  missing: 1\n    v_encoder.c_encoder.pooler.dense.bias\n" in report


def test_a_runs_checkpoint_is_the_one_chosen(experiment, tmp_path, capsys):
    old, checkpoints = experiment(), Checkpoints(tmp_path, keep=2)
    program = program_of(old)
    saved = {step: random_params(old, step) for step in (3, 5)}
    for step, flat in saved.items():
        state = program.start_from(program.place_params(flat))
        checkpoints.save(step, state, np.zeros((2, 2), np.int32), old.run_metadata())
    checkpoints.finish()
    new = experiment(init_from=str(tmp_path), checkpoint="3", seed=5, model__dropout=0.3)
    assert_placed(initial_params(new, program_of(new)), new, saved[3])
    report = capsys.readouterr().err
    assert f"weights from step 3 of {tmp_path}: {len(saved[3])} parameters loaded\n" in report
    assert report.count(": 0\n") == 3
    wider = experiment(init_from=str(tmp_path), model__hidden_size=32)
    sentence = f"the run in {tmp_path} has model.hidden_size=16, not 32"
    with pytest.raises(InputError, match=re.escape(sentence)):
        initial_params(wider, program_of(wider))


def test_a_folder_without_checkpoints_is_refused(experiment, tmp_path):
    empty = experiment(init_from=str(tmp_path))
    with pytest.raises(InputError, match=f"init_from={re.escape(str(tmp_path))} has no checkp"):
        initial_params(empty, program_of(empty))
    assert not list(tmp_path.iterdir())
