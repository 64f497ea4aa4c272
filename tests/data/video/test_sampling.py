"""Rows agree with the original tool's, and with a program that keeps the whole film in lists."""

import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from data.video.sampling import (
    CLIP_FRAMES,
    CLIP_RATE,
    ClipSampling,
    FilmFacts,
    FrameSampling,
    Framing,
    clip_indices,
    num_clips,
    short_side,
)
from tests.golden import extractors
from tests.paths import TESTDATA

SECONDS = st.sampled_from(["1", "3/2", "2", "1/2", "4/3", "5/4", "7/3", "1/7", "3", "1/30"])


def frames_in_lists(seconds_per_feature, num_frames, source_rate, duration):
    """Returns the frames of each clip: by adding to a list of a film's frames, and cutting it."""
    length = Fraction(seconds_per_feature)
    film = list(range(num_frames))
    while len(film) % CLIP_RATE:
        film.append(film[-1])
    seconds = [film[n : n + CLIP_RATE] for n in range(0, len(film), CLIP_RATE)]
    while len(seconds) % length.numerator:
        seconds.append(seconds[-1])
    film = [frame for second in seconds for frame in second]
    clips = Fraction(len(seconds)) / length
    if duration > 0:
        clips = min(clips, math.ceil(duration / float(length)))
    window = int(CLIP_RATE * length)
    step = (64 * source_rate / CLIP_RATE - 1) / (CLIP_FRAMES - 1)
    places = [int(min(max(n * step, 0), window - 1)) for n in range(CLIP_FRAMES)]
    return [
        [film[n * window : (n + 1) * window][place] for place in places] for n in range(int(clips))
    ]


@settings(max_examples=200, deadline=None)
@given(SECONDS, st.integers(0, 300), st.sampled_from([0, 1, 5, 15, 24, 25, 30, 60]), st.booleans())
def test_clips_that_come_frame_by_frame_are_those_of_the_whole_film(
    seconds, num_frames, source_rate, is_known
):
    duration = num_frames / CLIP_RATE if is_known and num_frames else -1.0
    film = FilmFacts(320, 240, source_rate, duration)
    rows, made, kept = ClipSampling(Fraction(seconds)).rows(film), [], 0
    for number in range(num_frames):
        made += [clip.tolist() for clip in rows.push(np.array(number))]
        kept = max(kept, len(rows._frames))
    made += [clip.tolist() for clip in rows.finish()]
    expected = frames_in_lists(seconds, num_frames, source_rate, duration) if num_frames else []
    assert made == [list(map(int, clip)) for clip in expected]
    if (CLIP_RATE * Fraction(seconds)).denominator == 1:
        assert kept <= CLIP_RATE * (Fraction(seconds) + 1)


def test_a_long_film_is_kept_for_a_clip_and_a_second_only():
    rows = ClipSampling(Fraction(3, 2)).rows(FilmFacts(320, 240, 25, -1.0))
    clips = kept = 0
    for number in range(30_000):
        clips += len(list(rows.push(np.array(number))))
        kept = max(kept, len(rows._frames))
    assert kept <= 45 + 30
    assert clips + len(list(rows.finish())) == num_clips(Fraction(3, 2), 30_000, -1.0)


def test_a_film_that_is_longer_than_it_states_is_not_kept():
    rows = ClipSampling(Fraction(3, 2)).rows(FilmFacts(320, 240, 25, 3.0))
    clips = kept = 0
    for number in range(1000):
        clips += len(list(rows.push(np.array(number))))
        kept = max(kept, len(rows._frames))
    assert (clips, list(rows.finish())) == (2, [])
    assert kept <= 45 + 30


def test_the_cases_of_the_original_tool_are_equal():
    report = extractors.Report()
    extractors.report_sampling(TESTDATA / "extractors" / "sampling.json", report)
    assert not report.failed


@pytest.mark.shared
def test_all_cases_of_the_original_tool_are_equal(capsys):
    report = extractors.Report()
    folder = Path(os.environ["HERO_SHARED"]) / "extractors"
    extractors.report_sampling(folder / "sampling.json", report)
    assert not report.failed
    assert capsys.readouterr().out.count("ok ") == 468


def test_even_clips_are_spread_over_their_window():
    even = ClipSampling(Fraction(3, 2), even=True)
    indices = clip_indices(even, range(2), 90, 60)
    assert indices[:, 0].tolist() == [0, 45]
    assert indices[:, -1].tolist() == [44, 89]
    assert set(np.diff(indices[0])) == {1, 2}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (298, 224, (37, 0, 224, 224))),
        ((480, 640), (224, 298, (0, 37, 224, 224))),
        ((426, 240), (397, 224, (86, 0, 224, 224))),
        ((100, 100), (224, 224, (0, 0, 224, 224))),
    ],
)
def test_the_short_side_is_scaled_and_the_centre_is_cut(size, expected):
    assert short_side(*size, crop=True) == Framing(*expected)
    assert short_side(*size, crop=False) == Framing(*expected[:2], None)


@pytest.mark.parametrize(
    ("seconds", "duration", "rate"),
    [
        ("3/2", 1.0, "2"),
        ("3/2", 0.3, "2"),
        ("3/2", 1.59, "2"),
        ("3/2", 1.6, "2/3"),
        ("2", 2.05, "1"),
        ("3/2", -1.0, "2/3"),
        ("2", 90.0, "1/2"),
    ],
)
def test_short_films_have_frames_more_often(seconds, duration, rate):
    film = FilmFacts(320, 240, 25, duration)
    assert FrameSampling(Fraction(seconds), crop=True).rate(film) == Fraction(rate)
    assert ClipSampling(Fraction(seconds)).rate(film) == CLIP_RATE


def test_films_of_many_frames_a_second_are_warned_of():
    fast, slow = (FilmFacts(320, 240, rate, 9.0) for rate in (60, 44))
    (sentence,) = ClipSampling(Fraction(3, 2)).warnings(fast)
    assert "at 60 frames a second" in sentence
    assert "one frame for 21 of 32" in sentence
    assert ClipSampling(Fraction(3, 2)).warnings(slow) == []
    assert ClipSampling(Fraction(3, 2), even=True).warnings(fast) == []
    assert FrameSampling(Fraction(3, 2), crop=True).warnings(fast) == []


@pytest.mark.parametrize("seconds", [Fraction(0), Fraction(-3, 2), Fraction(1, 31)])
def test_rows_last_a_frame_at_least(seconds):
    with pytest.raises(InputError, match="seconds per feature is Fraction"):
        ClipSampling(seconds)
    with pytest.raises(InputError, match="seconds per feature is Fraction"):
        FrameSampling(seconds, crop=False)
