"""Subtitle-to-frame alignment against the original's and against its definition."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.records.alignment import align
from data.schema import RawSubtitle
from tests.paths import GOLDEN

VECTORS = GOLDEN / "host" / "subtitle_alignment.json"
SHARED = os.environ.get("HERO_SHARED")


@pytest.mark.parametrize("case", json.loads(VECTORS.read_text()))
def test_reproduces_the_original(case):
    subtitles = [RawSubtitle(**subtitle) for subtitle in case["subtitles"]]
    owner = align(subtitles, case["num_frames"], case["seconds_per_feature"])
    assert owner.dtype == np.int32
    assert np.flatnonzero(owner == -1).tolist() == case["unmatched_frames"]
    frames = [np.flatnonzero(owner == index).tolist() for index in range(len(subtitles))]
    assert frames == case["frames_of_subtitle"]


@pytest.mark.shared
def test_reproduces_the_originals_database():
    layout = Path(SHARED) / "official_layout"
    stored = json.loads((layout / "txt_db" / "tv_subtitles.db" / "sub_info.json").read_text())
    lines = (layout / "ann" / "subtitles.jsonl").read_text().splitlines()
    for clip in map(json.loads, lines):
        info = stored[clip["vid_name"]]
        owner = align([RawSubtitle(**s) for s in clip["sub"]], info["num_of_frames"], 1.5)
        expected = np.full(info["num_of_frames"], -1)
        for frame, subtitle in info["frame2unique_sub"].items():
            expected[int(frame)] = subtitle
        np.testing.assert_array_equal(owner, expected)
    assert len(lines) == 40


def iou(subtitle: RawSubtitle, frame: int, seconds_per_feature: float) -> float:
    start, end = frame * seconds_per_feature, (frame + 1) * seconds_per_feature
    overlap = min(end, subtitle.end) - max(start, subtitle.start)
    return max(overlap, 0.0) / (max(end, subtitle.end) - min(start, subtitle.start))


@given(
    times=st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 9_000)), max_size=12),
    num_frames=st.integers(1, 50),
    seconds_per_feature=st.sampled_from([0.5, 1.0, 1.5, 2.0]),
)
def test_each_frame_goes_to_the_subtitle_of_largest_iou(times, num_frames, seconds_per_feature):
    subtitles = [RawSubtitle("", at / 1000, (at + lasts) / 1000) for at, lasts in sorted(times)]
    owner = align(subtitles, num_frames, seconds_per_feature)
    for frame in range(num_frames):
        ious = [iou(subtitle, frame, seconds_per_feature) for subtitle in subtitles]
        best = max(ious, default=0.0)
        # What touches a frame by less than rounding may or may not count.
        if owner[frame] < 0:
            assert best < 1e-5
        else:
            assert ious[owner[frame]] > best - 1e-5


def test_of_equal_subtitles_the_first_wins():
    twins = [RawSubtitle("", 0.0, 2.0), RawSubtitle("", 0.0, 2.0)]
    assert align(twins, 3, 1.0).tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    ("first", "second", "frame"),
    [((0.2, 0.5), (0.5, 0.8), 0), ((0.1, 2.4), (0.6, 2.9), 1)],
    ids=["within a frame", "around a frame"],
)
def test_subtitles_are_equal_when_their_lengths_are_in_float32(first, second, frame):
    exact = [end - start for start, end in np.array([first, second], np.float32).astype(float)]
    rounded = [end - start for start, end in np.array([first, second], np.float32)]
    assert exact[0] != exact[1]
    assert rounded[0] == rounded[1]
    # In float64 the second would win: it fills more of the frame, or sticks out less.
    owner = align([RawSubtitle("", *first), RawSubtitle("", *second)], 4, 1.0)
    assert owner[frame] == 0


@pytest.mark.parametrize(("end", "frames"), [(16.0, 16), (16.1, 11)])
def test_a_closing_subtitle_of_more_than_16_seconds_gets_11_frames(end, frames):
    closing = RawSubtitle("", 0.0, end)
    assert (align([closing], 30, 1.0) == 0).sum() == frames
    assert (align([closing, RawSubtitle("", 29.0, 30.0)], 30, 1.0) == 0).sum() == np.ceil(end)


def test_a_closing_subtitle_is_measured_to_the_end_of_the_clip():
    assert (align([RawSubtitle("", 10.0, 99.0)], 26, 1.0) == 0).sum() == 16


def test_frames_without_subtitles():
    assert align([], 3, 1.5).tolist() == [-1, -1, -1]
    assert align([RawSubtitle("", 4.5, 6.0)], 3, 1.5).tolist() == [-1, -1, -1]
    assert align([RawSubtitle("", 1.7, 1.7)], 3, 1.5).tolist() == [-1, -1, -1]
