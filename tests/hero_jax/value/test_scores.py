"""Scores of small submissions, against figures computed by hand."""

import json

import pytest

from data.errors import InputError
from hero_jax.value.__main__ import main
from hero_jax.value.scores import Scores, score_all
from hero_jax.value.tasks import TASKS
from tests.hero_jax.value.value_samples import write_lines, write_references, write_submission

# Test scores of VALUE's baseline on its leaderboard.
BASELINE = {
    **{"tvr": 13.56, "how2r": 3.95, "yc2r": 54.28, "vatex_en_r": 49.09},
    **{"tvqa": 74.83, "how2qa": 74.60, "violin": 67.18, "vlep": 69.37},
    **{"tvc": 48.13, "yc2c": 121.89, "vatex_en_c": 56.54},
}


@pytest.fixture
def folders(tmp_path):
    write_references(tmp_path / "data")
    write_submission(tmp_path / "mine")
    return tmp_path / "mine", tmp_path / "data"


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    """Leaves METEOR out, which starts Java."""
    monkeypatch.setenv("PATH", "")


def test_each_format_has_its_score(folders):
    scores = score_all(*folders, "val")
    assert not scores.not_scored
    # A third of the moments at rank 1, and another at rank 6; moments that overlap by 95% and 60%.
    tvr = scores.details["tvr"]
    assert [tvr[f"vcmr_0.7_r{k}"] for k in (1, 5, 10, 100)] == [33.33, 33.33, 66.67, 66.67]
    assert [tvr[f"vr_r{k}"] for k in (1, 5)] == [66.67, 100.0]
    assert scores.details["how2r"] == tvr
    # Recalls are rounded first: (66.67 + 100 + 100) / 3.
    assert scores.tasks["yc2r"] == scores.tasks["vatex_en_r"] == 88.89
    assert scores.tasks["tvr"] == 44.44
    assert scores.tasks["tvqa"] == scores.tasks["how2qa"] == 66.67
    assert scores.tasks["vlep"] == scores.tasks["violin"] == 50.0
    assert scores.groups["retrieval"] == 66.66  # (2 * 44.44 + 2 * 88.89) / 4, rounded down
    assert scores.groups["qa"] == 58.34
    # Captions are scored by their first text; CIDEr is ten times a mean of cosines.
    assert scores.details["tvc"]["bleu_1"] == 100.0
    assert scores.details["tvc"]["score"] == scores.details["tvc"]["cider"]
    assert scores.tasks["tvc"] == scores.tasks["yc2c"] == scores.tasks["vatex_en_c"]


def test_averages_are_those_of_the_paper_and_of_the_program():
    scores = Scores({name: {"score": value} for name, value in BASELINE.items()}, {})
    assert scores.groups == {"retrieval": 30.22, "qa": 71.5, "captioning": 75.52}
    assert scores.meta_average == 57.58
    assert scores.program_average == 57.9
    # A group without a task adds a 0.
    one = Scores({"tvr": {"score": 12.0}}, {})
    assert (one.meta_average, one.program_average) == (12.0, 6.0)


def test_what_has_no_references_is_named(folders, capsys):
    mine, data = folders
    (data / "tvr_val_release.jsonl").unlink()
    write_lines(data / "tvqa_val.jsonl", [{"q": "what?", "qid": 0, "vid_name": "a"}])
    for name in ("yc2r", "vatex_en_r", "how2r"):
        (mine / name / f"{name}_val_predictions.json").unlink()
    question = json.loads((data / "how2qa_val_release.jsonl").read_text().splitlines()[0])
    del question["answer_idx"]
    write_lines(data / "tvqa_val.jsonl", [question | {"a4": "y"}])
    main(["score", str(mine), f"--references={data}", "--split=val"])
    printed = capsys.readouterr().out
    for name in ("tvr", "tvqa"):
        assert f"{name}: not scored, no labelled {name}_val_release.jsonl in {data}" in printed
    assert "yc2r: not scored, no yc2r/yc2r_val_predictions.json" in printed
    assert "retrieval (0 tasks)             0.00" in printed
    assert "mean of 6 of 11 tasks" in printed
    assert "average of 9 numbers" in printed
    with pytest.raises(SystemExit, match="has nothing to score"):
        main(["score", str(mine), f"--references={data}", "--split=test"])


def spoiled(name, change):
    """Changes the content of a file of predictions."""

    def spoil(mine):
        path = mine / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return spoil


TVR, TVQA = "tvr/tvr_val_predictions.json", "tvqa/tvqa_val_predictions.json"
MISTAKES = [
    (spoiled(TVR, lambda c: {"VR": c["VR"]}), "VCMR is missing"),
    (spoiled(TVR, lambda c: c | {"VCMR": c["VCMR"][:2]}), "VCMR of query 3 is missing"),
    (spoiled(TVR, lambda c: c | {"VR": [*c["VR"], c["VR"][0]]}), "VR has query 1 twice"),
    (
        spoiled(TVR, lambda c: c | {"VR": [one | {"predictions": ["a"]} for one in c["VR"]]}),
        "VR has to hold numbers of videos, not 'a'",
    ),
    (
        spoiled(TVR, lambda c: c | {"VCMR": [one | {"predictions": [7]} for one in c["VCMR"]]}),
        r"VCMR has to hold \[number of the video, start, end\], not 7",
    ),
    (spoiled(TVQA, lambda c: {"0": 1}), "question 1 is missing, and 1 more"),
    (spoiled(TVQA, lambda c: c | {"9": 1}), "question 9 is not asked"),
    (spoiled(TVQA, lambda c: [*c]), "it has to be an object"),
    (
        lambda mine: write_lines(mine / "tvc" / "tvc_val_predictions.jsonl", [{"clip_id": 40}]),
        "line 1 has to be",
    ),
    (
        lambda mine: write_lines(
            mine / "tvc" / "tvc_val_predictions.jsonl", [{"clip_id": 40, "descs": [{"desc": "a"}]}]
        ),
        "clip 41 is missing",
    ),
]


@pytest.mark.parametrize(("spoil", "said"), MISTAKES)
def test_says_in_a_sentence_what_is_wrong(folders, spoil, said):
    mine, data = folders
    spoil(mine)
    with pytest.raises(InputError, match=rf"{mine}/.*: {said}.*: correct the submission"):
        score_all(mine, data, "val")


def test_references_have_to_be_complete(folders):
    mine, data = folders
    (data / "yc2r_video2dur_idx.json").unlink()
    with pytest.raises(InputError, match=r"has no yc2r_video2dur_idx\.json"):
        score_all(mine, data, "val")
    (data / "yc2r_video2dur_idx.json").write_text('{"val": {"a": 3}}')
    with pytest.raises(InputError, match=r"a of val has to be \[seconds, number\]"):
        score_all(mine, data, "val")
    (data / "tvr_val.jsonl").write_text("")
    with pytest.raises(InputError, match="are of one split: keep one"):
        score_all(mine, data, "val")


def test_splits_that_count_are_those_of_the_table():
    assert [task.splits["val"] for task in TASKS.values()].count("val") == 8
    assert {name: TASKS[name].splits["val"] for name in ("vlep", "violin", "vatex_en_c")} == {
        "vlep": "dev",
        "violin": "test",
        "vatex_en_c": "test_public",
    }
    assert TASKS["tvc"].file("test") == "tvc/tvc_test_predictions.jsonl"
    assert TASKS["violin"].file("test") == "violin/violin_test_private_predictions.json"
