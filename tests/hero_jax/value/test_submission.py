"""Submissions made of the predictions that evaluations leave."""

import json
import zipfile

import pytest

from data.errors import InputError
from hero_jax.metrics.contents import CONTENTS, PredictionsOf, contents
from hero_jax.value.__main__ import main
from hero_jax.value.scores import score_all
from tests.hero_jax.value.value_samples import write_references


def write_predictions(run, split, files, step=5):
    """Predictions of tasks: by dataset, the kind, the name of the file, and its text."""
    folder = run / f"predictions-{split}-{step}"
    folder.mkdir(parents=True)
    parts = []
    for dataset, (kind, name, text) in files.items():
        (folder / name).write_text(text)
        parts.append(PredictionsOf(dataset, split, kind, [name]))
    (folder / CONTENTS).write_text(contents(step, parts))
    return folder


def moments(*names):
    """A file of ranked moments; the number of a clip is its place among the names."""
    rows = [[n, 10.0, 20.0, 0.5] for n in range(len(names))]
    entries = [{"desc_id": n, "desc": "stir", "predictions": rows} for n in (1, 2, 3)]
    numbers = {name: n for n, name in enumerate(names)}
    return json.dumps({"video2idx": numbers, "VCMR": entries, "SVMR": [], "VR": entries})


CAPTIONS = [
    {"vid_name": "a", "clip_id": 40, "ts": None, "descs": [{"desc": "a dog jumps"}]},
    {"vid_name": "a", "clip_id": 41, "ts": [1.5, 2.0], "descs": [{"desc": "é"}]},
]


@pytest.fixture
def runs(tmp_path):
    """A run of several tasks, and one of captions."""
    write_references(tmp_path / "data")
    write_predictions(
        tmp_path / "many",
        "validation",
        {
            "tvr": ("moment_retrieval", "tvr-moments.json", moments("c", "a")),
            "yc2r": ("video_retrieval", "yc2r-clips.json", moments("a", "c")),
            "vlep": ("question_answering", "vlep-answers.json", '{"0": 0, "1": 1, "2": 0, "3": 0}'),
        },
    )
    lines = "".join(json.dumps(line) + "\n" for line in CAPTIONS)
    files = {"mine": ("captioning", "captions.jsonl", lines)}
    write_predictions(tmp_path / "words", "validation", files)
    return tmp_path


def submit(folder, *runs, split="val"):
    out, data = folder / "mine.zip", folder / "data"
    options = [f"--split={split}", f"--references={data}", f"--out={out}"]
    main(["submit", *map(str, runs), *options])
    return zipfile.ZipFile(out)


def test_predictions_become_files_of_the_benchmark(runs, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")  # METEOR needs Java.
    archive = submit(runs, runs / "many", f"tvc={runs / 'words'}")
    assert archive.namelist() == [
        "tvc/tvc_val_predictions.jsonl",
        "tvr/tvr_val_predictions.json",
        "vlep/vlep_dev_predictions.json",
        "yc2r/yc2r_val_predictions.json",
    ]
    tvr = json.loads(archive.read("tvr/tvr_val_predictions.json"))
    # The videos have VALUE's numbers: c is 9, and a is 7.
    first = {"desc_id": 1, "predictions": [[9, 10.0, 20.0], [7, 10.0, 20.0]]}
    assert tvr["VCMR"][0] == first
    assert tvr["VR"][0] == {"desc_id": 1, "predictions": [9, 7]}
    assert json.loads(archive.read("yc2r/yc2r_val_predictions.json")).keys() == {"VR"}
    lines = archive.read("tvc/tvc_val_predictions.jsonl").decode().splitlines()
    assert [sorted(json.loads(line)) for line in lines] == [
        ["clip_id", "descs", "vid_name"],
        ["clip_id", "descs", "ts", "vid_name"],
    ]
    printed = capsys.readouterr().out
    assert "4 of 11 tasks" in printed
    assert "not in it: how2r, vatex_en_r" in printed
    archive.extractall(runs / "mine")
    assert score_all(runs / "mine", runs / "data", "val").tasks["vlep"] == 75.0


def test_predictions_have_to_be_of_one_split_and_step(runs):
    with pytest.raises(SystemExit, match=r"has no predictions of a task's test split \(tvr test"):
        submit(runs, runs / "many", split="test")
    with pytest.raises(SystemExit, match="has no predictions of a task's val split"):
        submit(runs, runs / "words")
    files = {"tvr": ("moment_retrieval", "moments.json", moments("a"))}
    folder = write_predictions(runs / "many", "validation", files, step=9)
    with pytest.raises(SystemExit, match=r"several predictions of tvr, as .*: name one of these"):
        submit(runs, runs / "many")
    with pytest.raises(SystemExit, match="are both of tvr: name one"):
        submit(runs, folder, folder)
    assert submit(runs, folder).namelist() == ["tvr/tvr_val_predictions.json"]


def test_rankings_need_the_benchmarks_videos(runs):
    files = {"tvr": ("moment_retrieval", "moments.json", moments("a", "z"))}
    folder = write_predictions(runs / "other", "validation", files)
    with pytest.raises(SystemExit, match=r"ranks z, which tvr_video2dur_idx\.json does not list"):
        submit(runs, folder)
    options = ["--split=val", f"--out={runs / 'mine.zip'}"]
    with pytest.raises(SystemExit, match="the videos of tvr have no numbers"):
        main(["submit", str(folder), *options])
    (folder / CONTENTS).write_text('{"tasks": [{"dataset": "tvr"}]}')
    with pytest.raises(SystemExit, match="does not say what the predictions beside it are of"):
        submit(runs, folder)


def test_unknown_tasks_are_named(runs):
    from hero_jax.value import submit as library

    with pytest.raises(InputError, match="'tv' is no task of VALUE: choose of tvr, how2r"):
        library([("tv", runs / "many")], "val", runs / "data", runs / "mine.zip")
