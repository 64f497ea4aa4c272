"""Validation: numbers computed by hand, and a dataset with each fault and no other."""

import dataclasses
import gc
import re
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.records import codec, tfrecord
from data.records.reader import QuerySplit, Split
from data.schema import RawQuery, RawSubtitle, records_dir
from data.validate import Validation, validate
from data.validate.__main__ import main
from data.validate.distribution import Distribution
from tests.data.clip_samples import build, raw_clip
from tests.paths import ROOT

ANSWERS = ("red", "blue")


def clip(index: int, token_counts: tuple[int, int], num_frames: int = 8):
    """Makes a `raw_clip` with two subtitles of these numbers of tokens."""
    subtitles = (
        RawSubtitle("the red square", 0.2, 4.1, (10,) * token_counts[0]),
        RawSubtitle("the blue circle", 6.0, 8.75, (11,) * token_counts[1]),
    )
    return raw_clip(index, num_frames=num_frames, subtitles=subtitles)


def question(index, clip_id, moments, num_tokens, label) -> RawQuery:
    return RawQuery(
        *(f"q{index}", clip_id, "which colour?", moments),
        answers=ANSWERS,
        label=label,
        token_ids=(12,) * num_tokens,
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Four clips and questions; nothing about it is odd, its test split has no annotations."""
    folder = tmp_path_factory.mktemp("sound") / "films"
    clips = {
        "train": [clip(0, (3, 5)), clip(1, (70, 2), num_frames=12)],
        "validation": [clip(2, (1, 4))],
        "test": [clip(3, (6, 7))],
    }
    queries = {
        "train": [
            question(0, "clip0", ((1.5, 5.25),), 6, 0),
            question(1, "clip1", ((0.0, 3.0), (1.0, 18.0)), 3, 1),
        ],
        "validation": [question(2, "clip2", (), 61, 1)],
        "test": [question(3, "", (), 2, -1)],
    }
    build(folder, clips, queries, query_type="question")
    return folder


@pytest.fixture(scope="module")
def statements(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statements") / "films"
    queries = {
        "train": [
            RawQuery("s0", "clip0", "it is red", label=1, group="pair"),
            RawQuery("s1", "clip0", "it is blue", label=0, group="pair"),
        ],
        "test": [
            RawQuery("s2", "clip1", "it is big", group="pair"),
            RawQuery("s3", "clip1", "it is small", group="pair"),
        ],
    }
    clips = {"train": [raw_clip(0)], "test": [raw_clip(1)]}
    build(folder, clips, queries, query_type="statement")
    return folder


@pytest.fixture
def films(sound, tmp_path):
    """A copy of `sound` to be changed."""
    return Path(shutil.copytree(sound, tmp_path / "films"))


@pytest.fixture
def pairs(statements, tmp_path):
    """A copy of `statements` to be changed."""
    return Path(shutil.copytree(statements, tmp_path / "films"))


def shard_of(dataset: Path, kind: str, split: str) -> Path:
    (shard,) = records_dir(dataset, kind).glob(f"*-{split}.tfrecord-?????-of-?????")
    return shard


def change(dataset: Path, identifier: str, **fields) -> None:
    """Writes a clip or query anew, with other fields; they may be functions of the record."""
    for kind, reader, encode, id_field in (
        ("clips", Split, codec.encode_clip, "clip_id"),
        ("queries", QuerySplit, codec.encode_query, "query_id"),
    ):
        for split in ("train", "validation", "test"):
            if not list(records_dir(dataset, kind).glob(f"*-{split}.tfrecord-*")):
                continue
            split_records = reader(dataset, split)
            found = [split_records.read(number) for number in range(len(split_records))]
            for index, record in enumerate(found):
                if getattr(record, id_field) == identifier:
                    new = {k: v(record) if callable(v) else v for k, v in fields.items()}
                    found[index] = dataclasses.replace(record, **new)
                    content = [tfrecord.record(codec.serialise(encode(r))) for r in found]
                    shard_of(dataset, kind, split).write_bytes(b"".join(content))
                    return
    raise KeyError(identifier)


def features(dataset: Path, split: str, clip_id: str) -> np.ndarray:
    clips = Split(dataset, split)
    found = {c.clip_id: c for c in map(clips.read, range(len(clips)))}
    return found[clip_id].frame_features


def check(dataset: Path, capsys, errors: dict | None = None, warnings: dict | None = None) -> str:
    """That exactly these faults are counted and printed, and the exit status; the output."""
    errors, warnings = errors or {}, warnings or {}
    found = validate(dataset)
    assert found.errors.counts == errors
    assert found.warnings.counts == warnings
    capsys.readouterr()
    if errors:
        with pytest.raises(SystemExit) as exit_:
            main([str(dataset)])
        assert exit_.value.code == 1
    else:
        main([str(dataset)])
    output = capsys.readouterr().out
    printed = output[output.index("\nWarnings: ") :].partition("\nErrors: ")
    for part, faults in ((printed[0], warnings), (printed[2], errors)):
        lines = re.findall(r"^ +([\d,]+)  (\S.*)$", part, re.MULTILINE)
        assert {what: int(count) for count, what in lines} == faults
    return output


def rows_of(output: str) -> dict[str, list[str]]:
    """Parses the cells of the tables' rows, by the first cell."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in output.splitlines() if line]
    return {row[0]: row[1:] for row in rows}


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


# Errors


def test_damaged_records(films, capsys):
    shard = shard_of(films, "clips", "test")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 16
    shard.write_bytes(content)
    shard = shard_of(films, "queries", "train")
    shard.write_bytes(shard.read_bytes()[:-1])
    output = check(films, capsys, {"damaged records": 2})
    assert f"record 0 of {shard_of(films, 'clips', 'test')} cannot be read" in output
    assert f"record 1 of {shard} cannot be read" in output
    rows = rows_of(output)
    assert rows["clips"] == ["2", "1", "0", "3"]  # what can be read is counted
    assert rows["queries"] == ["1", "1", "1", "3"]


def test_clips_without_frames(films, capsys):
    nothing = {"token_ids": np.empty(0, np.int32), "token_counts": np.empty(0, np.int32)}
    times = dict.fromkeys(("subtitle_starts", "subtitle_ends"), np.empty(0, np.float32))
    change(
        films,
        "clip3",
        frame_features=np.empty((0, 5), np.float16),
        frame_subtitle=np.empty(0, np.int32),
        subtitle_texts=(),
        **nothing,
        **times,
    )
    output = check(films, capsys, {"clips without frames": 1}, {"clips without subtitles": 1})
    assert "clip clip3 (test, record 0)" in output


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_features(films, capsys, value):
    def spoil(clip):
        spoilt = clip.frame_features.copy()
        spoilt[2:4, 3] = value
        return spoilt

    change(films, "clip0", frame_features=spoil)
    output = check(films, capsys, {"clips with NaN or infinite features": 1})
    assert "clip0 (train, record " in output
    assert "): 2 of 8 frames, the first is 2\n" in output


@pytest.mark.parametrize(("changed", "split"), [("clip1", "train"), ("clip2", "validation")])
def test_clip_ids_that_come_twice(films, capsys, changed, split):
    change(films, changed, clip_id="clip0")
    change(films, f"q{changed[-1]}", clip_id="clip0", moments=np.empty((0, 2)))
    output = check(films, capsys, {"clip ids that come twice": 1})
    assert re.search(rf"clip clip0 \({split}, record \d\): before in train", output)


@pytest.mark.parametrize("duration", [13.6, 10.4, np.nan, np.inf, -12.0])
def test_durations_that_do_not_fit_the_frames(films, capsys, duration):
    change(films, "clip3", duration=duration)
    fault = "clips whose duration and number of frames disagree"
    output = check(films, capsys, {fault: 1})
    assert f"clip clip3 (test, record 0): {duration:g} s, but 8 frames of 1.5 s" in output


@pytest.mark.parametrize("duration", [13.5, 10.5])
def test_durations_may_differ_by_a_frame(films, capsys, duration):
    change(films, "clip3", duration=duration)
    check(films, capsys)


@pytest.mark.parametrize(
    ("identifier", "field"),
    [("clip2", "token_ids"), ("q2", "token_ids"), ("q2", "answer_token_ids")],
)
@pytest.mark.parametrize("wrong", [-1, None])
def test_token_ids_that_are_not_in_the_vocabulary(films, capsys, identifier, field, wrong):
    size = Split(films, "train").metadata.vocab_size
    wrong = size if wrong is None else wrong

    def spoil(record):
        ids = getattr(record, field).copy()
        ids[0] = wrong
        return ids

    change(films, identifier, **{field: spoil})
    output = check(films, capsys, {"token ids that are not in the vocabulary": 1})
    assert f"{identifier} (validation, record 0): {wrong} of a vocabulary of {size}" in output


@pytest.mark.parametrize(("changed", "split"), [("q1", "train"), ("q2", "validation")])
def test_query_ids_that_come_twice(films, capsys, changed, split):
    change(films, changed, query_id="q0")
    output = check(films, capsys, {"query ids that come twice": 1})
    assert re.search(rf"query q0 \({split}, record \d\)", output)


def test_queries_about_clips_of_no_split_or_another(films, capsys):
    change(films, "q0", clip_id="absent")
    change(films, "q1", clip_id="clip2")
    change(films, "q3", clip_id="clip3")  # is right
    faults = {
        "queries about a clip that is in no split": 1,
        "queries about a clip that is in another split": 1,
    }
    output = check(films, capsys, faults)
    assert re.search(r"query q0 \(train, record \d\): clip absent\n", output)
    assert re.search(r"query q1 \(train, record \d\): clip clip2 of validation\n", output)


@pytest.mark.parametrize(
    "moment",
    [(12.0, 12.5), (1.0, 13.6), (-0.1, 3.0), (5.0, 3.0), (np.nan, 3.0), (1.0, np.nan), (0, np.inf)],
)
def test_moments_outside_their_clip(films, capsys, moment):
    change(films, "q0", moments=np.array([(1.0, 2.0), moment]))
    output = check(films, capsys, {"moments outside their clip": 1})
    example = f"{moment[0]:g} to {moment[1]:g} s of 12 s"
    assert re.search(rf"query q0 \(train, record \d\): {example}\n", output)


@pytest.mark.parametrize("moment", [(-1.0, 2.0), (3.0, 2.0), (0.0, np.inf), (np.nan, np.nan)])
def test_impossible_moments_of_queries_without_a_clip(films, capsys, moment):
    change(films, "q3", moments=np.array([moment], np.float64))
    check(films, capsys, {"moments outside their clip": 1})


@pytest.mark.parametrize("label", [-2, 2])
def test_labels_of_questions_that_are_no_answers(films, capsys, label):
    change(films, "q0", label=label)
    output = check(films, capsys, {"labels that are none of the answers": 1})
    assert re.search(rf"query q0 \(train, record \d\): {label} of 2\n", output)


def test_labels_of_queries_without_answers(films, capsys):
    nothing = {"answers": (), "answer_token_ids": np.empty(0, np.int32)}
    nothing["answer_token_counts"] = np.empty(0, np.int32)
    change(films, "q0", label=0, **nothing)
    change(films, "q2", label=-1, **nothing)  # is right
    output = check(films, capsys, {"labels that are none of the answers": 1})
    assert "query q0" in output


def test_labels_of_statements_that_are_neither_true_nor_false(pairs, capsys):
    change(pairs, "s2", label=2)
    output = check(pairs, capsys, {"labels that are none of the answers": 1})
    assert re.search(r"query s2 \(test, record \d\): 2 of 2\n", output)


# Warnings


def test_clips_whose_frames_are_all_equal(films, capsys):
    change(films, "clip1", frame_features=lambda clip: np.tile(clip.frame_features[:1], (12, 1)))
    output = check(films, capsys, warnings={"clips whose frames are all equal": 1})
    assert re.search(r"clip clip1 \(train, record \d\): 12\n", output)


def test_a_clip_of_one_frame_is_not_all_equal(films, capsys):
    change(
        films,
        "clip3",
        duration=1.5,
        frame_features=lambda clip: clip.frame_features[:1],
        frame_subtitle=np.array([1], np.int32),
    )
    check(films, capsys, warnings={"subtitles that have no frames": 1})


def test_dimensions_with_one_value_in_all_frames(films, capsys):
    def fix(clip):
        fixed = clip.frame_features.copy()
        fixed[:, [1, 3, 4]] = 0.5
        if clip.clip_id == "clip3":
            fixed[6, 4] = 0.25
        return fixed

    for index in range(4):
        change(films, f"clip{index}", frame_features=fix)
    output = check(
        films, capsys, warnings={"feature dimensions that have one value in all frames": 2}
    )
    assert "of 5: 1, 3\n" in output


def test_the_same_features_in_two_splits(films, capsys):
    change(films, "clip2", frame_features=features(films, "train", "clip0"))
    fault = "clips with the same features as one of another split"
    output = check(films, capsys, warnings={fault: 1})
    assert "clip clip2 (validation, record 0): clip clip0 of train" in output


def test_the_same_features_twice_in_a_split(films, capsys):
    change(
        films,
        "clip1",
        duration=12.0,
        frame_features=features(films, "train", "clip0"),
        frame_subtitle=lambda clip: clip.frame_subtitle[:8],
    )
    change(films, "q1", moments=np.empty((0, 2)))
    check(films, capsys)


def test_a_video_in_several_splits(films, capsys):
    for changed, video in (("clip0", "a"), ("clip1", "a"), ("clip2", "b")):
        change(films, changed, video_id=video)
    check(films, capsys)
    change(films, "clip2", video_id="a")
    output = check(films, capsys, warnings={"videos with clips in several splits": 1})
    assert "video a: train, validation" in output


def test_clips_without_subtitles(films, capsys):
    nothing = np.empty(0, np.int32)
    change(
        films,
        "clip2",
        subtitle_texts=(),
        subtitle_starts=nothing.astype(np.float32),
        subtitle_ends=nothing.astype(np.float32),
        token_ids=nothing,
        token_counts=nothing,
        frame_subtitle=np.full(8, -1, np.int32),
    )
    output = check(films, capsys, warnings={"clips without subtitles": 1})
    assert "clip clip2 (validation, record 0)" in output
    assert re.search(r"clips without subtitles +0 +1 +0 +1\n", output)
    assert re.search(r"clips without subtitles +1 +4 +25\.0%\n", output)


def test_subtitles_without_frames(films, capsys):
    for changed in ("clip0", "clip2"):
        change(
            films,
            changed,
            frame_subtitle=lambda c: np.where(c.frame_subtitle == 1, -1, c.frame_subtitle),
        )
    output = check(films, capsys, warnings={"subtitles that have no frames": 2})
    assert "clip clip2 (validation, record 0): 1 of 2" in output
    assert re.search(r"subtitles that have no frames +2 +8 +25\.0%", output)


def test_subtitles_without_tokens(films, capsys):
    change(
        films,
        "clip3",
        token_counts=np.array([0, 7], np.int32),
        token_ids=lambda c: c.token_ids[6:],
    )
    output = check(films, capsys, warnings={"subtitles that have no tokens": 1})
    assert "clip clip3 (test, record 0): 1 of 2" in output


@pytest.mark.parametrize("end", [12.01, 13.5])
def test_moments_that_end_a_little_late(films, capsys, end):
    change(films, "q0", moments=np.array([(11.9, end)]))
    fault = "moments that end less than a frame after their clip"
    output = check(films, capsys, warnings={fault: 1})
    assert re.search(rf"query q0 \(train, record \d\): 11\.9 to {end} s of 12 s\n", output)


def test_pairs_of_statements_are_complete(pairs, capsys):
    output = check(pairs, capsys)
    assert rows_of(output)["queries without a label"] == ["0", "2", "2"]


@pytest.mark.parametrize(
    ("changed", "field", "value", "example"),
    [
        ("s1", "group", "other", "group other (train): 0 true, 1 false, 0 unlabelled"),
        ("s1", "group", "", "it has no group"),
        ("s1", "label", 1, "group pair (train): 2 true, 0 false, 0 unlabelled"),
        ("s3", "group", "other", "group other (test): 0 true, 0 false, 1 unlabelled"),
    ],
)
def test_statements_whose_pair_is_missing(pairs, capsys, changed, field, value, example):
    change(pairs, changed, **{field: value})
    output = check(pairs, capsys, warnings={"statements whose pair is missing": 2})
    assert example in output


def test_three_examples_are_printed(films, capsys):
    for index in range(4):
        change(films, f"clip{index}", duration=99.0)
    fault = "clips whose duration and number of frames disagree"
    output = check(films, capsys, {fault: 4})
    assert len(re.findall(r"clip clip\d \(.*\): 99 s, but", output)) == 3


# What cannot be validated, and what validation costs


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
    validation = Validation(clips.metadata)
    for number in range(len(clips)):
        clip = clips.read(number)
        # Not a view: what keeps a part of it keeps it whole.
        clip = dataclasses.replace(clip, frame_features=clip.frame_features.copy())
        kept = weakref.ref(clip.frame_features)
        validation.add_clip("train", number, clip)
        del clip
        gc.collect()
        assert kept() is None


def test_runs_without_tensorflow(sound):
    program = (
        "import sys; from data.validate.__main__ import main; main(sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules"
    )
    command = [sys.executable, "-c", program, sound]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Errors: none" in result.stdout
