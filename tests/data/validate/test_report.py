"""Validation: numbers computed by hand, refused folders, and costs."""

import dataclasses
import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.records.reader import Split
from data.validate import Validation
from data.validate.__main__ import main
from data.validate.distribution import Distribution
from tests.data.validate.validation_samples import (
    rows_of,
    shard_of,
)
from tests.paths import ROOT


def test_counts_and_shares_of_a_dataset_without_faults(sound, capsys):
    main([str(sound), "--max_frames=10", "--max_tokens=5"])
    output, progress = capsys.readouterr()
    rows = rows_of(output)
    assert rows["Counts"] == ["train", "validation", "test", "all"]
    assert rows["clips"] == ["2", "1", "1", "4"]
    assert rows["frames"] == ["20", "8", "8", "36"]
    assert rows["subtitles"] == ["4", "2", "2", "8"]
    assert rows["subtitle tokens"] == ["80", "5", "13", "98"]
    assert rows["queries"] == ["2", "1", "1", "4"]
    assert rows["query tokens"] == ["9", "61", "2", "72"]
    assert rows["queries without a clip"] == ["0", "0", "1", "1"]
    assert rows["queries without a moment"] == ["0", "1", "1", "2"]
    assert rows["queries without a label"] == ["0", "0", "1", "1"]

    assert rows["Lengths"] == ["number", "min", "5%", "median", "95%", "max"]
    assert rows["frames per clip"] == ["4", "8", "8", "8", "12", "12"]
    assert rows["subtitles per clip"] == ["4", "2", "2", "2", "2", "2"]
    # 1 2 3 4 5 6 7 70
    assert rows["tokens per subtitle"] == ["8", "1", "1", "4", "70", "70"]
    assert rows["seconds per subtitle"] == ["8", "2.75", "2.75", "2.75", "3.90", "3.90"]
    # 2 3 6 61
    assert rows["tokens per query"] == ["4", "2", "2", "3", "61", "61"]
    assert rows["seconds per moment"] == ["3", "3.00", "3.00", "3.75", "17.00", "17.00"]

    # Frames 0 to 2, and 4 and 5, of each clip.
    assert rows["frames under a subtitle"] == ["20", "36", "55.6%"]
    assert rows["subtitles that have no frames"] == ["0", "8", "0.0%"]
    assert rows["clips without subtitles"] == ["0", "4", "0.0%"]
    assert rows["clips of more than 10 frames"] == ["1", "4", "25.0%"]
    assert rows["frames cut by that"] == ["2", "36", "5.6%"]
    assert rows["subtitles of more than 5 tokens"] == ["3", "8", "37.5%"]
    assert rows["subtitle tokens cut by that"] == ["68", "98", "69.4%"]
    assert rows["queries of more than 5 tokens"] == ["2", "4", "50.0%"]
    assert rows["query tokens cut by that"] == ["57", "72", "79.2%"]
    assert output.endswith("\n\nWarnings: none\n\nErrors: none\n")
    for what in ("clips of train: 2", "clips of validation: 1", "queries of test: 1"):
        assert f"{what}, done" in progress


def test_limits_default_to_those_of_pretraining(sound, capsys):
    main([str(sound)])
    rows = rows_of(capsys.readouterr().out)
    assert rows["clips of more than 100 frames"][0] == "0"
    assert rows["subtitles of more than 60 tokens"][0] == "1"
    assert rows["subtitle tokens cut by that"][0] == "10"
    assert rows["queries of more than 60 tokens"][0] == "1"


@settings(deadline=None)
@given(st.lists(st.integers(-5, 40), min_size=1), st.sampled_from([0, 0.05, 0.3, 0.5, 0.95, 1]))
def test_quantiles_are_lengths_that_the_share_does_not_exceed(lengths, share):
    distribution = Distribution()
    for start in range(0, len(lengths), 3):
        distribution.add(lengths[start : start + 3])
    (quantile,) = distribution.quantiles([share])
    assert sum(length <= quantile for length in lengths) >= share * len(lengths)
    smaller = sum(length < quantile for length in lengths)
    assert quantile in lengths
    assert smaller < share * len(lengths) or smaller == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 40)), st.integers(0, 40))
def test_counts_lengths_beyond_a_limit(lengths, limit):
    distribution = Distribution()
    distribution.add(lengths)
    longer, excess = distribution.beyond(limit)
    assert longer == sum(length > limit for length in lengths)
    assert excess == sum(length - limit for length in lengths if length > limit)


def test_nan_and_infinite_lengths_are_not_counted():
    distribution = Distribution(decimals=1)
    distribution.add([np.nan, np.inf, 2.04, 1.96])
    assert distribution.counts == {2.0: 2}


def error_of(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    assert capsys.readouterr().out == ""
    return exit_.value.code


def test_refuses_a_folder_without_a_dataset(films, tmp_path, capsys):
    absent = tmp_path / "absent"
    assert error_of(capsys, absent).startswith(f"error: dataset {absent} does not exist")
    assert error_of(capsys, tmp_path).startswith(f"error: {tmp_path} holds no dataset")
    for limit in ("max_frames", "max_tokens"):
        error = f"error: --{limit} is 0: it has to be at least 1"
        assert error_of(capsys, films, f"--{limit}=0") == error
    shard = shard_of(films, "queries", "train")
    shard.unlink()
    assert error_of(capsys, films).startswith(f"error: {shard} is missing")


def test_features_are_not_kept(sound):
    clips = Split(sound, "train")
    validation, kept = Validation(clips.metadata), []
    for number in range(len(clips)):
        clip = clips.read(number)
        # Not a view: what keeps a part of it keeps it whole.
        clip = dataclasses.replace(clip, frame_features=clip.frame_features.copy())
        kept.append(weakref.ref(clip.frame_features))
        validation.add_clip("train", number, clip)
    del clip
    gc.collect()
    assert kept
    assert all(features() is None for features in kept)


def test_runs_without_tensorflow(sound):
    program = (
        "import sys; from data.validate.__main__ import main; main(sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules"
    )
    command = [sys.executable, "-c", program, sound]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Errors: none" in result.stdout
