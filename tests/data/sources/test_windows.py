"""Long videos cut into clips, with their frames, subtitles and queries."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import build
from data.errors import InputError
from data.records.reader import QuerySplit, Split
from data.report import Report
from data.schema import RawClip, RawSubtitle
from data.sources.subtitles import open_subtitles
from data.sources.windows import clip_of_moment, cut_video, frames_per_clip
from tests.data.clip_samples import TOKENIZER

SHARED = os.environ.get("HERO_SHARED")


def video(num_frames: int, subtitles=()) -> RawClip:
    part = np.arange(num_frames, dtype=np.float32)[:, None]
    return RawClip("film", (part, -part), tuple(subtitles))


def test_cuts_frames_and_subtitles():
    said = [
        RawSubtitle("first", 0.5, 2.0),
        RawSubtitle("across", 5.0, 8.0, (3, 4)),
        RawSubtitle("at the cut", 6.0, 6.0),
        RawSubtitle("long", 7.0, 20.0),
        RawSubtitle("past the end", 16.0, 30.0),
    ]
    report = Report()
    first, second, third = cut_video(video(11, said), 6.0, 1.5, report)
    assert [c.clip_id for c in (first, second, third)] == ["film.0", "film.1", "film.2"]
    assert [c.video_start for c in (first, second, third)] == [0.0, 6.0, 12.0]
    assert {c.video_id for c in (first, second, third)} == {"film"}
    assert [c.features[1][:, 0].tolist() for c in (second, third)] == [
        [-4.0, -5.0, -6.0, -7.0],
        [-8.0, -9.0, -10.0],
    ]
    assert first.subtitles == (said[0], RawSubtitle("across", 5.0, 6.0, (3, 4)))
    assert second.subtitles == (
        RawSubtitle("across", 0.0, 2.0, (3, 4)),
        RawSubtitle("at the cut", 0.0, 0.0),
        RawSubtitle("long", 1.0, 6.0),
    )
    assert third.subtitles == (
        RawSubtitle("long", 0.0, 8.0),
        RawSubtitle("past the end", 4.0, 18.0),
    )
    assert report.counts == {"subtitles across a cut: in both clips": 2}


times = st.integers(0, 400).map(lambda tenths: tenths / 10)


@given(
    num_frames=st.integers(1, 30),
    spans=st.lists(st.tuples(times, times).map(sorted), max_size=8),
    per_clip=st.integers(1, 8),
)
def test_clips_hold_exactly_what_the_video_holds(num_frames, spans, per_clip):
    said = [RawSubtitle(str(index), *span) for index, span in enumerate(spans)]
    clips = cut_video(video(num_frames, said), per_clip * 1.5, 1.5, Report())
    frames = np.concatenate([clip.features[0] for clip in clips])[:, 0]
    assert frames.tolist() == list(range(num_frames))
    assert all(len(clip.features[0]) == per_clip for clip in clips[:-1])
    for subtitle in said:
        parts = [
            (clip.video_start + s.start, clip.video_start + s.end)
            for clip in clips
            for s in clip.subtitles
            if s.text == subtitle.text
        ]
        # The parts follow each other and together are the subtitle.
        assert parts[0][0] == pytest.approx(subtitle.start)
        assert parts[-1][1] == pytest.approx(subtitle.end)
        for (_, end), (start, _) in itertools.pairwise(parts):
            assert end == pytest.approx(start)
            assert end % (per_clip * 1.5) == pytest.approx(0)


@pytest.mark.parametrize(
    ("moment", "number", "part"),
    [
        ((0.0, 5.0), 0, (0.0, 5.0)),
        ((6.0, 9.0), 1, (0.0, 3.0)),
        ((5.0, 10.0), 1, (0.0, 4.0)),
        ((4.0, 8.0), 0, (4.0, 6.0)),  # as much in both: the first
        ((2.0, 17.0), 1, (0.0, 6.0)),
        ((13.0, 40.0), 2, (1.0, 28.0)),
        ((30.0, 31.0), 2, (18.0, 19.0)),
        ((6.0, 6.0), 1, (0.0, 0.0)),
    ],
)
def test_a_moment_belongs_to_the_clip_that_holds_most_of_it(moment, number, part):
    assert clip_of_moment(moment, 6.0, 3) == (number, part)


def test_clips_have_whole_numbers_of_features():
    assert frames_per_clip(60.0, 1.5) == 40
    assert frames_per_clip(0.3, 0.1) == 3
    with pytest.raises(InputError, match=r"clip_seconds=10 is 6\.66667 features .*=10\.5 does"):
        frames_per_clip(10.0, 1.5)
    with pytest.raises(InputError, match=r"clip_seconds=0\.5 is .*clip_seconds=1\.5 does"):
        frames_per_clip(0.5, 1.5)


def build_videos(folder: Path, frames: dict[str, int], queries: list, *more: str, form="plain"):
    (folder / "net").mkdir()
    for video_id, num_frames in frames.items():
        np.save(folder / "net" / f"{video_id}.npy", np.ones((num_frames, 3), np.float16))
    TOKENIZER.save(folder / "tokenizer.json")
    name = "queries.csv" if form.startswith("how2") else "queries.jsonl"
    lines = queries if form.startswith("how2") else map(json.dumps, queries)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    build.main(
        [
            "raw",
            f"--features={folder / 'net'}",
            f"--queries=train={folder / name}",
            f"--form={form}",
            "--seconds_per_feature=2",
            f"--tokenizer={folder}",
            f"--out={folder / 'films'}",
            *more,
        ]
    )
    records = QuerySplit(folder / "films", "train")
    found = [records.read(number) for number in range(len(records))]
    return {query.query_id: query for query in found}, records.metadata


def test_queries_of_long_videos_find_their_clips(tmp_path):
    queries = [
        {"id": "a", "video": "long", "text": "red", "start": 70, "end": 80},
        {"id": "b", "video": "long", "text": "red", "start": 50, "end": 90},
        {"id": "c", "video": "long", "text": "red", "start": 140, "end": 200},
        {"id": "d", "video": "long", "text": "red", "start": 500, "end": 501},
        {"id": "e", "video": "long", "text": "red"},
        {"id": "f", "video": "short", "text": "red"},
        {"id": "g", "text": "red"},
        {"id": "h", "video": "nowhere", "text": "red"},
    ]
    found, metadata = build_videos(tmp_path, {"long": 75, "short": 20}, queries)
    where = {i: (query.clip_id, query.moments.tolist()) for i, query in found.items()}
    assert where == {
        "a": ("long.1", [[10.0, 20.0]]),
        "b": ("long.1", [[0.0, 30.0]]),
        "c": ("long.2", [[20.0, 30.0]]),
        "f": ("short.0", []),
        "g": ("", []),
    }
    assert metadata.clips == {"train": 4}
    assert metadata.left_out == {
        "moments across a cut: only the part in the clip that holds most is kept": 1,
        "moments that go on after the video: cut at its end": 1,
        "queries of a time after the end of the video: skipped": 1,
        "queries without a time of videos that are cut: skipped": 1,
        "queries of videos not in the dataset: skipped": 1,
        "videos without features: skipped": 1,
    }


HOW2R = [
    "x,[60:120],[61.5:70.25],a plank is sawed",
    "x,[60:120],[110.0:121.7],a board is painted",
    "x,[30:90],[40.0:50.0],shown with what was around it",
    "x,[180:240],[181.0:190.0],after the end",
]


def test_published_clips_of_whole_videos(tmp_path):
    found, metadata = build_videos(tmp_path, {"x": 75}, HOW2R, form="how2r")
    where = {query.text: (query.clip_id, query.moments.tolist()) for query in found.values()}
    assert where == {
        "a plank is sawed": ("x.1", [[1.5, 10.25]]),
        "a board is painted": ("x.1", [[50.0, 61.7]]),
        "shown with what was around it": ("x.0", [[40.0, 50.0]]),
    }
    assert metadata.left_out == {
        "queries of a time after the end of the video: skipped": 1,
    }


def test_features_may_be_of_the_clips_already(tmp_path):
    frames = {"x.0": 30, "x.1": 30}
    with pytest.raises(SystemExit, match=r"features are of clips already \(x\.1, for one\)"):
        build_videos(tmp_path, frames, HOW2R[:2], form="how2r")
    (tmp_path / "again").mkdir()
    found, metadata = build_videos(
        tmp_path / "again", frames, HOW2R[:2], "--clip_seconds=0", form="how2r"
    )
    where = {query.text: (query.clip_id, query.moments.tolist()) for query in found.values()}
    assert where["a plank is sawed"] == ("x.1", [[1.5, 10.25]])
    assert metadata.clips == {"train": 1}


@pytest.mark.shared
def test_a_film_becomes_clips_of_a_minute(tmp_path):
    film = Path(SHARED) / "elephants_dream"
    for name in ("net", "subtitles"):
        (tmp_path / name).mkdir()
    # 10:53 at 1.5 s.
    np.save(tmp_path / "net" / "film.npy", np.ones((436, 4), np.float16))
    (tmp_path / "subtitles" / "film.vtt").write_bytes((film / "captions.en.vtt").read_bytes())
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "film.vtt").write_bytes((film / "descriptions.en.vtt").read_bytes())
    seen = open_subtitles(tmp_path / "seen").read("film", Report())
    (tmp_path / "queries.jsonl").write_text(
        "".join(
            json.dumps({"video": "film", "text": s.text, "start": s.start, "end": s.end}) + "\n"
            for s in seen
        )
    )
    TOKENIZER.save(tmp_path / "tokenizer.json")
    build.main(
        [
            "raw",
            f"--features={tmp_path / 'net'}",
            f"--subtitles={tmp_path / 'subtitles'}",
            f"--queries={tmp_path / 'queries.jsonl'}",
            "--seconds_per_feature=1.5",
            f"--tokenizer={tmp_path}",
            f"--out={tmp_path / 'films'}",
        ]
    )
    split = Split(tmp_path / "films", "train")
    clips = {clip.clip_id: clip for clip in map(split.read, range(len(split)))}
    assert sorted(clips, key=lambda i: int(i.split(".")[1])) == [f"film.{n}" for n in range(11)]
    assert [len(clips[f"film.{n}"].frame_features) for n in (0, 9, 10)] == [40, 40, 36]
    # "Are you hurt?", 47.037 to 48.494, and "...it is.", 8:57.000 to 8:59.867.
    first, ninth = clips["film.0"], clips["film.8"]
    index = first.subtitle_texts.index("Are you hurt?")
    assert first.subtitle_starts[index] == np.float32(47.037)
    assert first.subtitle_ends[index] == np.float32(48.494)
    assert ninth.subtitle_texts[-1] == "...it is."
    assert ninth.subtitle_starts[-1] == pytest.approx(57.0, abs=1e-4)
    assert ninth.video_start == 480.0
    said = open_subtitles(tmp_path / "subtitles").read("film", Report())
    assert len(said) == 78
    crossing = sum(int(s.start // 60) != int(s.end // 60) for s in said)
    assert sum(len(clip.subtitle_texts) for clip in clips.values()) == 78 + crossing
    queries = QuerySplit(tmp_path / "films", "train")
    assert len(queries) == len(seen) == 63
    starts = sorted((s.start, s.text) for s in seen)
    for query in map(queries.read, range(63)):
        clip = clips[query.clip_id]
        begins = query.moments[0, 0] + clip.video_start
        assert any(
            text == query.text and (start == pytest.approx(begins) or start < clip.video_start)
            for start, text in starts
        )
        assert 0 <= query.moments[0, 0] <= query.moments[0, 1] <= 60
