"""Each wrong input gets one sentence that names it and says what to do."""

import pickle

import pytest
from runs import sentence


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data.name": "absent"}, ["absent", "data.build"]),
        ({"data.eval_split": "trial"}, ["'trial'", "eval_split"]),
        ({"model.feature_size": 99}, ["6 + 4", "--config.model.feature_size=10"]),
        ({"model.vocab_size": 999}, ["--config.model.vocab_size="]),
        ({"data.seconds_per_feature": 2.0}, ["every 1.5 s", "seconds_per_feature"]),
        ({"batch.groups": 3, "mesh.data": 1, "mesh.fsdp": 2}, ["do not multiply", "mesh"]),
        ({"model.num_heads": 3}, ["num_heads=3"]),
        ({"batch.row_length": 8}, ["row_length"]),
        ({"tasks.mlm": -1.0}, ["tasks.mlm"]),
        ({"tasks.mlm": 0.0, "tasks.mfm_nce": 0.0, "tasks.fom": 0.0, "tasks.vsm": 0.0}, ["tasks"]),
        ({"init_from": "/absent/hero.pt"}, ["/absent/hero.pt"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_does_not_fit_is_named(runs, tmp_path, settings, words):
    text = sentence(runs.start(runs.command(tmp_path, **settings)))
    for word in words:
        assert word in text


def test_groups_that_do_not_divide_over_the_mesh(runs, tmp_path):
    text = sentence(runs.start(runs.command(tmp_path, **{"batch.groups": 3}), devices=2))
    assert "config.batch.groups=3" in text


class Payload:
    """Would write a file if it were executed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_in_a_checkpoint_is_executed(runs, tmp_path):
    weights, trace = tmp_path / "hero.pt", tmp_path / "trace"
    weights.write_bytes(pickle.dumps(Payload(trace)))
    text = sentence(runs.start(runs.command(tmp_path / "run", init_from=weights)))
    assert str(weights) in text
    assert not trace.exists()


def test_an_absurd_rate_stops_and_keeps_the_last_good_checkpoint(runs, tmp_path):
    runs.run(tmp_path, **{"optimizer.steps": 4})
    settings = {"init_from": tmp_path, "optimizer.learning_rate": 1e30, "optimizer.steps": 8}
    text = sentence_after_lines(runs.start(runs.command(tmp_path / "next", **settings)))
    assert "is nan" in text or "is inf" in text


def sentence_after_lines(process):
    assert process.wait() == 1, process.text
    assert process.lines[-1].startswith("error: "), process.text
    return process.lines[-1]
