"""The model, subtitles and both find their own in a dataset of two clips."""

import pytest

from benchmarks import hybrid
from data import build
from tests.end_to_end.test_home import write_inputs


@pytest.fixture
def dataset(tmp_path):
    """Clips `a`, with the words of the model's tokenizer as its subtitle, and `b` without any."""
    write_inputs(tmp_path)
    build.main(
        [
            *("raw", f"--features={tmp_path / 'part0'}", f"--features={tmp_path / 'part1'}"),
            f"--subtitles={tmp_path / 'said.jsonl'}",
            f"--splits=train={tmp_path / 'train.json'}",
            f"--queries={tmp_path / 'queries.jsonl'}",
            f"--tokenizer={tmp_path / 'export' / 'tokenizer.json'}",
            *("--seconds_per_feature=1.5", "--workers=1", f"--out={tmp_path / 'dataset'}"),
        ]
    )
    return tmp_path / "dataset"


def test_prints_a_row_for_each_weight(dataset, tmp_path, capsys):
    given = [f"--model={tmp_path / 'export'}", f"--data={dataset}"]
    hybrid.main([*given, "--split=train"])
    head, names, *rows = capsys.readouterr().out.splitlines()[-6:]
    assert head == "1 queries, 2 clips and windows"
    assert names.split() == ["R@1", "R@5", "R@10"]
    assert [row.split()[:2] for row in rows] == [
        *(["model", "0.00"], ["both", "0.50"], ["both", "0.75"], ["text", "1.00"])
    ]
    # Two clips are among five; the words are those of the subtitle of the right one.
    assert all(row.split()[3:] == ["100.0", "100.0"] for row in rows[:3])
    assert rows[3].split()[2:] == ["100.0"] * 3
    with pytest.raises(SystemExit, match=r"error: .* has no queries in a split 'test'"):
        hybrid.main(given)
