"""VALUE end to end: its tasks in one run, resumed, evaluated, submitted and scored."""

import json
import shutil
import zipfile

import pytest

from configs.value.multitask import RUNS as PUBLISHED
from hero_jax.training.evaluate import evaluate_checkpoint
from hero_jax.value import TASKS
from hero_jax.value.__main__ import main
from tests.end_to_end import value
from tests.end_to_end.harness import assert_same_bits, make_program, saved, scalars, train


@pytest.fixture(scope="module", autouse=True)
def no_java():
    """Leaves METEOR out: starting Java for it takes longer than all evaluations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset of each task."""
    folder = tmp_path_factory.mktemp("value")
    value.build(folder)
    return folder


@pytest.fixture(scope="module")
def video_numbers(tmp_path_factory):
    """The numbers of the videos in submissions."""
    folder = tmp_path_factory.mktemp("published")
    videos = {f"clip{number:03d}": [9.0, 100 + number] for number in range(32)}
    for task in ("tvr", "how2r", "yc2r", "vatex_en_r"):
        (folder / f"{task}_video2dur_idx.json").write_text(json.dumps({"val": videos}))
    return folder


# The three tasks that are unlike those of other tests, and the published runs.
NEW = ("yc2r", "vlep", "yc2c")
RUNS = [
    pytest.param("all", NEW, id="new"),
    *(
        pytest.param(name, run.ratios, id=name, marks=pytest.mark.slow)
        for name, run in PUBLISHED.items()
    ),
]


@pytest.mark.parametrize(("run", "tasks"), RUNS)
def test_a_run_is_resumed_evaluated_and_submitted(
    run, tasks, runs, folder, video_numbers, tmp_path
):
    config = value.several(run, tasks, folder, runs)
    program = make_program(config)
    first, again = tmp_path / "first", tmp_path / "again"
    train(config, first, program)
    shutil.copytree(first / f"checkpoints/{value.SAVED}", again / f"checkpoints/{value.SAVED}")
    train(config, again, program)
    for item in ("state", "stream"):
        assert_same_bits(saved(again, value.STEPS, item), saved(first, value.STEPS, item))
    results = evaluate_checkpoint(config, str(first), program)
    for task in tasks:
        metric = config.parts[task].best_metric.rpartition("/")[2]
        scored = scalars(first)[f"eval/{task}/{metric}", value.STEPS]
        assert results[f"{task}/{metric}"] == pytest.approx(scored)
    out = tmp_path / "mine.zip"
    main(["submit", str(first), "--split=val", f"--references={video_numbers}", f"--out={out}"])
    with zipfile.ZipFile(out) as archive:
        texts = {task: archive.read(TASKS[task].file("val")).decode() for task in tasks}
        assert len(archive.namelist()) == len(texts)
    for task, text in texts.items():
        check_file(task, text)


def check_file(task, text):
    """Checks that a file of predictions is about all that is asked."""
    clips = [*value.NUMBERS["validation"]]
    if TASKS[task].group == "retrieval":
        content = json.loads(text)
        assert content.keys() == ({"VCMR", "VR"} if TASKS[task].has_moments else {"VR"})
        for entry in content["VR"]:
            assert sorted(entry["predictions"]) == [100 + number for number in clips]
    elif TASKS[task].group == "qa":
        answers = json.loads(text)
        assert len(answers) == len(clips) * (4 if task == "violin" else 2)
        assert {*answers.values()} <= {*range(5)}
    else:
        captions = [*map(json.loads, text.splitlines())]
        if task != "tvc":  # Whole clips have one caption each, and no times.
            assert sorted(caption["clip_id"] for caption in captions) == clips
        assert all(("ts" in caption) == (task == "tvc") for caption in captions)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_each_task_is_trained_and_evaluated_alone(task, runs, folder, tmp_path):
    config = value.one(task, folder, runs, optimizer__steps=2, eval_every=2, save_every=2)
    program = make_program(config)
    train(config, tmp_path, program)
    assert config.best_metric in evaluate_checkpoint(config, str(tmp_path), program)


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["tvr,yc2r", "yc2r,tvr", "tvqa,violin", "vlep,tvqa", "tvc,yc2c"])
def test_a_run_of_a_task_is_evaluated_on_another(pair, runs, folder, tmp_path):
    source, target = pair.split(",")
    config = value.one(source, folder, runs, optimizer__steps=2, eval_every=2, save_every=2)
    train(config, tmp_path / source, make_program(config))
    other = value.moved(source, target, folder, runs, init_from=str(tmp_path / source))
    results = evaluate_checkpoint(other, str(tmp_path / "other"))
    assert other.best_metric in results
    clips = [name for name in results if name.endswith(("questions", "statements", "clips"))]
    assert all(results[name] for name in clips)
