"""Validation: a dataset with each warning and no other fault."""

import re

import numpy as np
import pytest

from tests.data.validate.validation_samples import change, check, features, rows_of


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
