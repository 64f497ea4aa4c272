"""Benchmarks on the sample corpus, without training: a stub returns metrics in its place."""

import collections
import re

import pytest

from benchmarks import search, shapes
from data import build
from hero_jax.search import FoundMoment, build_index
from tests.hero_jax.inference import export_samples


@pytest.fixture
def untrained(monkeypatch):
    """Builds datasets in this process and records runs in place of training them."""
    runs = []

    def build_here(command, **_):
        options = [option for option in command[3:] if not option.startswith("--workers")]
        build.main([*options, "--workers=1"])

    def evaluate(config, workdir):
        assert config.data.eval_split == "test"
        return collections.defaultdict(lambda: 0.5)

    monkeypatch.setattr(shapes.subprocess, "run", build_here)
    monkeypatch.setattr(shapes, "train", lambda config, workdir: runs.append(config))
    monkeypatch.setattr(shapes, "evaluate_checkpoint", evaluate)
    return runs


def test_shapes_fine_tunes_each_task_twice(untrained, tmp_path, capsys):
    shapes.main([f"--data={tmp_path / 'data'}", f"--runs={tmp_path / 'runs'}", "--num_clips=20"])
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + sum(map(len, shapes.TASKS.values()))
    pretrained = str(tmp_path / "runs" / "shapes")
    assert [config.init_from for config in untrained] == ["", *[pretrained, ""] * len(shapes.TASKS)]
    names = {config.data.name for config in untrained}
    assert names == {path.name for path in (tmp_path / "data").iterdir()}


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
def test_shapes_scores_runs_of_two_steps(tmp_path, capsys):
    folders = [f"--{name}={tmp_path / name}" for name in ("data", "runs")]
    shapes.main([*folders, "--configs", "tvqa", "--num_clips=30", "--steps=2"])
    lines = capsys.readouterr().out.splitlines()
    heads, _, scores = [line for line in lines if line.startswith("|")]
    assert heads.split()[-6:] == ["chance", "|", "pre-trained", "|", "random", "|"]
    chance, *found = (float(score.strip(" %")) for score in scores.split("|")[2:5])
    assert chance == 20
    assert all(0 <= score <= 100 for score in found)


@pytest.mark.filterwarnings("ignore:a query of")
def test_search_prints_a_line_per_sentence(monkeypatch, tmp_path, capsys):
    model = export_samples.model()
    build_index(model, export_samples.clips(), tmp_path / "index")
    monkeypatch.setattr(search, "load", lambda path: model)
    search.main(["--model=unused", f"--index={tmp_path / 'index'}"])
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == [target.text for target in search.SENTENCES]
    assert last == "0 of 20 in the first 5"
    indexes = [f"--{name}={tmp_path / 'index'}" for name in ("index", "films")]
    search.main(["--model=unused", *indexes])
    *lines, last = capsys.readouterr().out.splitlines()
    for target, text, records, films in zip(
        search.SENTENCES, lines[::3], lines[1::3], lines[2::3], strict=True
    ):
        assert text == target.text
        assert records.split()[1:] == films.split()[1:]
        assert re.search(r"first: \S+ +[\d.]+- *[\d.]+ +-?[\d.]+$", records)
    assert last == "records: 0 of 20 in the first 5; films: 0 of 20 in the first 5"


def test_overlap_is_with_the_right_film_alone():
    target = search.Target("a sentence", ((9, 10.0, 20.0), (19, 0.0, 4.0)))

    def overlap(video_id, start, end):
        return search.overlap(FoundMoment(video_id, video_id, start, end, 1.0, ()), target)

    assert overlap("shapes0_00009", 15.0, 20.0) == pytest.approx(0.5)
    assert overlap("shapes0_00019", 0.0, 4.0) == pytest.approx(1.0)
    assert overlap("shapes0_00010", 10.0, 20.0) == 0.0
