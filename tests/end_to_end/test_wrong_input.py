"""Each wrong input gets one sentence that names it and says what to do."""

import copy
import json
import pickle
import subprocess
import sys

import pytest

from data.errors import InputError
from hero_jax.experiment.experiment import FREE_AT_START, Experiment
from hero_jax.training.checkpoint import Checkpoints
from hero_jax.training.evaluate import evaluate_checkpoint
from hero_jax.training.loop import train
from tests.end_to_end.harness import build, sentence, steps
from tests.paths import ROOT

OTHER_TEXT = "somebody else counts sheep while thunder rolls over quiet hills"
NO_TASKS = {f"tasks__{name}": 0.0 for name in ("mlm", "mfm_nce", "fom", "vsm")}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data__name": "absent"}, ["absent does not exist"]),
        ({"data__eval_split": "trial"}, ["no split 'trial'", "train, validation"]),
        ({"data__train_split": "trial"}, ["'trial'", "train, validation"]),
        ({"data__on_corrupt": "ignore"}, ["'ignore'", "error, skip"]),
        ({"data__seconds_per_feature": 2.0}, ["every 1.5 s", "data.seconds_per_feature="]),
        ({"model__feature_size": 99}, ["6 + 4", "model.feature_size=10"]),
        ({"model__vocab_size": 999}, ["model.vocab_size=280"]),
        ({"model__num_heads": 3}, ["num_heads=3"]),
        ({"model__encoder": "round"}, ["model.encoder='round'", "hierarchical"]),
        ({"model__encoder": "flat"}, ["'flat' needs 'clip'"]),
        (
            {"model__encoder": "flat", "batch__segmentation": "clip", "batch__max_clip_tokens": 9},
            ["tasks.fom"],
        ),
        ({"model__channels": "audio"}, ["model.channels='audio'", "both, video, subtitle"]),
        ({"model__channels": "video"}, ["is pre-training", "model.channels=both"]),
        ({"model__fusion": "add"}, ["is pre-training", "model.fusion=cross_modal"]),
        (
            {"model__channels": "subtitle", "model__fusion": "add"},
            ["model.fusion='add' does not go with model.channels='subtitle'"],
        ),
        (
            {"model__channels": "video", "model__encoder": "text_only"},
            ["model.encoder='text_only' does not go with model.channels='video'"],
        ),
        (
            {"model__channels": "subtitle", "batch__segmentation": "frames"},
            ["batch.segmentation='frames' does not go with model.channels='subtitle'"],
        ),
        ({"batch__max_subtitles": 3}, ["batch.max_subtitles=3", "set it to 0"]),
        ({"model__dropout": 1.0}, ["model.dropout=1.0", "below 1"]),
        ({"batch__row_length": 8}, ["max_tokens + 1 is 21", "batch.row_length=8"]),
        ({"batch__max_frames": 15}, ["batch.max_frames is 15", "segment_frames=14"]),
        ({"batch__frame_row_length": 13}, ["batch.max_frames is 14", "frame_row_length=13"]),
        ({"batch__frame_rows_per_group": -1}, ["batch.frame_rows_per_group=-1", "0 or more"]),
        ({"batch__max_tokens": 40}, ["41 tokens", "model.text_positions=32"]),
        ({"batch__groups": 0}, ["batch.groups=0", "1 or more"]),
        ({"mesh__data": 1, "mesh__fsdp": 2}, ["do not multiply to the 1 devices"]),
        ({"optimizer__betas": (0.9,)}, ["optimizer.betas", "two numbers"]),
        ({"optimizer__learning_rate": -1.0}, ["optimizer.learning_rate=-1.0"]),
        ({"tasks__mlm": -1.0}, ["tasks.mlm=-1.0"]),
        (NO_TASKS, ["all of tasks are 0"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_does_not_fit_is_named(runs, settings, words):
    with pytest.raises(InputError) as caught:
        Experiment(runs.config(**settings)).task_groups[""].batches(
            settings.get("data__train_split", "train")
        )
    for word in words:
        assert word in str(caught.value)


def test_a_task_that_does_not_exist(runs):
    config = runs.config()
    config.tasks.unlock()
    config.tasks.jigsaw = 1.0
    with pytest.raises(InputError, match=r"tasks\.jigsaw: .* mlm, mfm_nce, mffr, fom, vsm"):
        Experiment(config)


def test_a_half_built_dataset(runs, tmp_path):
    (tmp_path / "half" / "clips").mkdir(parents=True)
    with pytest.raises(InputError, match="half-built"):
        Experiment(runs.config(data__dir=str(tmp_path), data__name="half"))


@pytest.fixture(scope="module")
def about(runs):
    """The JSON part of a checkpoint of these runs, as it is read back."""
    return json.loads(json.dumps(Experiment(runs.config()).run_metadata()))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model__hidden_size": 32}, ["model.hidden_size=16, not 32"]),
        ({"optimizer__learning_rate": 1.0}, ["optimizer.learning_rate=0.01, not 1.0", "init_from"]),
        ({"seed": 3}, ["seed=77, not 3"]),
        ({"batch__clips_per_group": 4}, ["batch.clips_per_group=3, not 4"]),
        ({"tasks__mffr": 1.0}, ["tasks.mffr=0.0, not 1.0"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_does_not_resume_with_other_settings(runs, about, settings, words):
    with pytest.raises(InputError) as caught:
        Experiment(runs.config(**settings)).check_same(about, "runs/mine")
    for word in ["the run in runs/mine", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("steps", [11, 12, 13])
def test_a_run_may_become_longer_but_not_shorter(runs, about, steps, capsys):
    experiment = Experiment(runs.config(optimizer__steps=steps))
    if steps < 12:
        with pytest.raises(InputError, match=r"has optimizer.steps=12, not 11: set it to that"):
            experiment.check_same(about, "runs/mine")
    else:
        experiment.check_same(about, "runs/mine")
    warning = (
        "warning: the run in runs/mine was planned for optimizer.steps=12 and goes on to 13: from "
        "here on its learning rate is that of the longer schedule\n"
    )
    assert capsys.readouterr().err == (warning if steps > 12 else "")


def test_of_a_longer_run_nothing_else_changes(runs, about, capsys):
    config = runs.config(optimizer__steps=13, optimizer__warmup_steps=3)
    with pytest.raises(InputError, match=r"has optimizer.warmup_steps=2, not 3"):
        Experiment(config).check_same(about, "runs/mine")
    assert not capsys.readouterr().err


def test_a_run_resumes_whose_version_lacked_a_setting_that_has_its_default(runs, about):
    older = copy.deepcopy(about)
    assert older["config"]["vsm"].pop("margin") == 0.1
    Experiment(runs.config()).check_same(older, "runs/mine")
    with pytest.raises(InputError, match=r"has vsm.margin=0.1, not 0.2"):
        Experiment(runs.config(vsm__margin=0.2)).check_same(older, "runs/mine")


def test_a_run_of_a_row_for_each_clip_resumes_with_as_many_rows(runs, about):
    """Earlier versions had no other."""
    older = copy.deepcopy(about)
    for name in ("frame_rows_per_group", "frame_row_length"):
        older["config"]["batch"].pop(name)
    rows = {"batch__clips_per_group": 3, "batch__frame_rows_per_group": 3}
    Experiment(runs.config(**rows)).check_same(older, "runs/mine")
    with pytest.raises(InputError, match=r"has batch.frame_rows_per_group=3, not 2: set it to"):
        Experiment(runs.config(batch__frame_rows_per_group=2)).check_same(older, "runs/mine")


def test_a_run_without_channels_read_both_and_starts_another(runs, about):
    """Earlier versions had neither channels nor fusions. A channel needs no other weights."""
    older = copy.deepcopy(about)
    for name in ("channels", "fusion"):
        older["config"]["model"].pop(name)
    older["config"]["batch"].pop("max_subtitles")
    same = Experiment(runs.config())
    same.check_same(older, "runs/mine")
    same.check_model(older, "the run")
    other = Experiment(runs.config())
    other.config.model.channels = "video"
    other.check_model(older, "the run", FREE_AT_START)
    with pytest.raises(InputError, match=r"has model\.channels=both, not video: set"):
        other.check_model(older, "the run")


def test_weights_of_another_shape(runs, about):
    other = Experiment(runs.config(model__hidden_size=32, seed=3, model__dropout=0.5))
    with pytest.raises(InputError, match=r"hidden_size=16, not 32: set model.hidden_size"):
        other.check_model(about, "the run in runs/mine")
    # Seed and dropout may differ.
    Experiment(runs.config(seed=3, model__dropout=0.5)).check_model(about, "")


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({"widths": (4, 6)}, {}, ["features of widths [6, 4]", "'other' has [4, 6]"]),
        (
            {"seconds_per_feature": 2.0},
            {"data__seconds_per_feature": 2.0},
            ["seconds between features of 1.5", "'other' has 2.0"],
        ),
        ({"text": OTHER_TEXT}, {}, ["the tokenizer", "build the dataset to match"]),
    ],
    ids=["widths", "frame rate", "tokenizer"],
)
def test_data_that_a_checkpoint_was_not_made_for(runs, about, tmp_path, changes, settings, words):
    build(tmp_path / "other", **changes)
    config = runs.config(data__dir=str(tmp_path), data__name="other", **settings)
    with pytest.raises(InputError) as caught:
        Experiment(config).check_model(about, "the run in runs/mine")
    for word in ["the run in runs/mine was made for", *words]:
        assert word in str(caught.value)


def test_a_corrupt_record_stops_training_unless_it_may_be_skipped(runs, tmp_path):
    build(tmp_path / "tiny")
    (shard,) = (tmp_path / "tiny" / "clips").glob("*/*-train.tfrecord*-of-00001")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=rf"record \d+ of {shard}"):
        Experiment(runs.config(data__dir=str(tmp_path)))
    experiment = Experiment(runs.config(data__dir=str(tmp_path), data__on_corrupt="skip"))
    batches = list(experiment.task_groups[""].batches("train").once(0))
    assert sum(batch.counts["clips"] for batch in batches) == 24
    assert batches[-1].counts["corrupt"] == 1


class Payload:
    """An object whose unpickling writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "make", [pickle.dumps, lambda _: b"something else"], ids=["pickle", "text"]
)
def test_no_code_in_a_pt_file_is_executed(runs, tmp_path, make):
    weights, trace = tmp_path / "hero.pt", tmp_path / "trace"
    weights.write_bytes(make(Payload(trace)))
    with pytest.raises(InputError, match=str(weights)):
        train(runs.config(init_from=str(weights)), tmp_path / "run")
    assert not trace.exists()


def test_missing_starting_weights_are_named(runs, tmp_path):
    with pytest.raises(InputError, match=r"/absent/hero\.pt"):
        train(runs.config(init_from="/absent/hero.pt"), tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no checkpoints: name the workdir of a run"):
        train(runs.config(init_from=str(tmp_path / "empty")), tmp_path / "run")


def test_a_missing_checkpoint_is_named(runs, tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint in .*init_from is empty"):
        evaluate_checkpoint(runs.config(), tmp_path)
    # The folder stays empty.
    assert not any(tmp_path.iterdir())


def test_a_workdir_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/checkpoints could not be written to"):
        Checkpoints(tmp_path / "file")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workdir=x"], ["--config is missing"]),
        (["--config=configs/absent.py", "--workdir=x"], ["configs/absent.py"]),
        (["--config=configs/pretrain.py:circles", "--workdir=x"], ["'circles'", "'shapes'"]),
        (["--config=configs/pretrain.py"], ["--workdir is missing"]),
        (
            ["--config=configs/pretrain.py", "--workdir=x", "--second=y"],
            ["--second is another run to evaluate", "--mode=evaluate"],
        ),
        (
            ["--config=configs/pretrain.py", "--workdir=x", "--config.model.hiden_size=8"],
            ["--config.model.hiden_size=8", "no such field", "'hidden_size'"],
        ),
        (
            ["--config=configs/pretrain.py", "--workdir=x", "--config.tasks.jigsaw=1.0"],
            ["--config.tasks.jigsaw=1.0", "no such field"],
        ),
        (
            ["--config=configs/pretrain.py", "--workdir=x", "--config.optimizer.steps=many"],
            ["optimizer.steps", "many"],
        ),
        (["--config=configs/pretrain.py", "--workdir=x", "--mode=dream"], ["--mode=dream"]),
        (["--config=configs/pretrain.py", "--workdir=x", "shapes"], ["'shapes' is not a flag"]),
        (
            ["--config=configs/pretrain.py", "--workdir=x", "--coordinator=here:1"],
            ["--processes and --process"],
        ),
    ],
    ids=lambda value: value[-1],
)
def test_a_command_line_that_cannot_be_read(flags, words):
    command = [sys.executable, "main.py", *flags]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith("error: "), process.stderr
    assert process.stderr.count("\n") == 1, process.stderr
    for word in words:
        assert word in process.stderr


def test_the_program_prints_nothing_but_the_sentence(runs, tmp_path):
    flags = {"batch__groups": 3}
    text = sentence(runs.start(runs.command(tmp_path, **flags), devices=2))
    assert "does not divide over the 2 data shards of the mesh (--config.mesh.data=2 × " in text
    assert "the nearest that does is --config.batch.groups=4; " in text


def test_after_an_absurd_learning_rate_nothing_is_saved(runs, tmp_path):
    """The first update is too large for float32; the loss before it was fine."""
    rate = {"optimizer__learning_rate": 1e30, "optimizer__steps": 4}
    one_task = {"tasks__mfm_nce": 0.0, "tasks__fom": 0.0, "tasks__vsm": 0.0}
    sentence = r"the parameter norm of step 1 \(task mlm\) is (nan|inf)"
    with pytest.raises(InputError, match=sentence):
        runs.train(tmp_path, **rate, **one_task, save_every=1)
    assert steps(tmp_path) == []
