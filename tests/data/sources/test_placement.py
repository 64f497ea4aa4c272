"""One rule for moments beyond the clip, in all forms of annotations and in the databases."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import build
from data.records.reader import QuerySplit
from data.report import Report
from data.schema import RawQuery
from data.sources.annotations.base import Annotation
from data.sources.features import FeatureParts
from data.sources.names import KnownNames
from data.sources.placement import Placer, in_published_clips
from data.validate import validate
from tests.data.clip_samples import TOKENIZER
from tests.data.sources.annotations.annotation_samples import DIDEMO, TVC, TVQA, TVR
from tests.data.sources.original.original_samples import msgpack_value, write_lmdb, write_texts

# Seconds between two frames, and of a clip.
STEP, SECONDS = 1.5, 60.0
AFTER = "moments that go on after the video: cut at its end"
BEFORE = "moments that start before the video: cut at its start"
OUTSIDE = "moments outside their clip or video: not used"


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Features of video `x`, a minute long, and `long`, of three minutes and a half."""
    folder = tmp_path_factory.mktemp("features")
    for name, frames in (("x", 40), ("long", 140)):
        np.save(folder / f"{name}.npy", np.random.default_rng(0).normal(size=(frames, 4)))
    return FeatureParts([folder])


def place(features, moments, *, video="x", clip_seconds=0.0, durations=(), **more):
    """Returns the placed query, None if it is left out, and what was counted."""
    report = Report()
    placer = Placer(features, {"train": ["x", "long"]}, STEP, clip_seconds, dict(durations), report)
    query = RawQuery("q", video, "a dog", tuple(moments))
    placed = placer.place(Annotation(query, "rows line 1", **more))
    return placed and placed[1], dict(report.counts)


INSIDE = {
    "inside": ((1.0, 2.0), (1.0, 2.0), {}),
    "all of the clip": ((0.0, 60.0), (0.0, 60.0), {}),
    "less than a frame after the end": ((50.0, 61.5), (50.0, 61.5), {}),
    "more than a frame after the end": ((50.0, 61.6), (50.0, 60.0), {AFTER: 1}),
    "before the start": ((-0.5, 4.0), (0.0, 4.0), {BEFORE: 1}),
    "on both sides": ((-3.0, 80.0), (0.0, 60.0), {BEFORE: 1, AFTER: 1}),
    "without length at the start": ((0.0, 0.0), (0.0, 0.0), {}),
    "at the end": ((60.0, 60.0), None, {OUTSIDE: 1}),
    "after the end": ((69.7, 93.1), None, {OUTSIDE: 1}),
    "ends at the start": ((-4.0, 0.0), None, {OUTSIDE: 1}),
}


@pytest.mark.parametrize(("moment", "kept", "counts"), INSIDE.values(), ids=INSIDE.keys())
def test_what_sticks_out_is_cut_and_what_lies_outside_loses_its_time(
    features, moment, kept, counts
):
    for in_video in (False, True):
        query, counted = place(features, [moment], in_video=in_video)
        assert query.moments == (() if kept is None else (kept,))
        assert counted == counts


def test_a_known_duration_is_the_end_of_the_clip(features):
    known = {"durations": {"x": 58.7}}
    assert place(features, [(58.8, 59.5)], **known) == (RawQuery("q", "x", "a dog"), {OUTSIDE: 1})
    query, counted = place(features, [(50.0, 60.5)], **known)
    assert (query.moments, counted) == (((50.0, 58.7),), {AFTER: 1})


def test_each_of_several_moments_is_cut_for_itself(features):
    query, counted = place(features, [(70.0, 80.0), (-1.0, 2.0), (3.0, 4.0), (50.0, 90.0)])
    assert query.moments == ((0.0, 2.0), (3.0, 4.0), (50.0, 60.0))
    assert counted == {OUTSIDE: 1, BEFORE: 1, AFTER: 1}


def test_moments_of_cut_videos_are_placed_by_what_is_inside(features):
    cut = {"video": "long", "clip_seconds": 60.0, "in_video": True}
    query, counted = place(features, [(300.0, 310.0), (70.0, 80.0)], **cut)
    assert (query.clip_id, query.moments) == ("long.1", ((10.0, 20.0),))
    assert counted == {OUTSIDE: 1}
    query, counted = place(features, [(-9.0, 5.0)], **cut)
    assert (query.clip_id, query.moments, counted) == ("long.0", ((0.0, 5.0),), {BEFORE: 1})
    # Nothing says which clip these are about.
    after = {"queries of a time after the end of the video: skipped": 1}
    assert place(features, [(300.0, 310.0)], **cut) == (None, after)
    before = {"queries of a time before the start of the video: skipped": 1}
    assert place(features, [(-9.0, -5.0)], **cut) == (None, before)
    # A video of one clip, and an annotator who saw another.
    cut["video"] = "x"
    query, counted = place(features, [(300.0, 310.0)], **cut)
    assert (query.clip_id, query.moments, counted) == ("x.0", (), {OUTSIDE: 1})
    assert place(features, [(181.0, 190.0)], window=(180.0, 240.0), **cut) == (None, after)


def test_moments_beyond_the_window_that_annotators_saw(features):
    long = {"video": "long", "clip_seconds": 60.0, "in_video": True, "window": (60.0, 120.0)}
    query, counted = place(features, [(125.0, 130.0)], **long)
    assert (query.clip_id, query.moments, counted) == ("long.2", ((5.0, 10.0),), {})
    query, counted = place(features, [(50.0, 70.0)], **long)
    assert (query.clip_id, query.moments) == ("long.0", ((50.0, 60.0),))
    assert list(counted.values()) == [1]


@pytest.mark.parametrize(
    ("moment", "part", "counts"),
    [
        ((61.5, 70.25), ((1.5, 10.25),), {}),
        ((50.0, 70.0), ((0.0, 10.0),), {BEFORE: 1}),
        ((110.0, 121.5), ((50.0, 61.5),), {}),
        ((110.0, 130.0), ((50.0, 60.0),), {AFTER: 1}),
        ((125.0, 130.0), (), {OUTSIDE: 1}),
        ((30.0, 40.0), (), {OUTSIDE: 1}),
    ],
)
def test_moments_of_features_that_are_of_published_clips(tmp_path, moment, part, counts):
    np.save(tmp_path / "long.1.npy", np.ones((40, 4)))
    features = FeatureParts([tmp_path])
    query = RawQuery("q", "long", "a dog", (moment,))
    annotation = Annotation(query, "rows line 1", in_video=True, window=(60.0, 120.0))
    (annotation,) = in_published_clips([annotation], KnownNames(features.ids()), 0.0)
    report = Report()
    placer = Placer(features, {"train": ["long.1"]}, STEP, 0.0, {}, report)
    assert placer.place(annotation) == ("train", RawQuery("q", "long.1", "a dog", part))
    assert report.counts == counts


seconds = st.floats(-100, 300, allow_nan=False).map(lambda value: round(value, 2))
moment_lists = st.lists(st.tuples(seconds, seconds).map(lambda pair: tuple(sorted(pair))))


@settings(deadline=None)
@given(
    moments=moment_lists,
    duration=st.none() | st.floats(59, 61),
    clip_seconds=st.sampled_from([0.0, 60.0]),
    video=st.sampled_from(["x", "long"]),
    window=st.none() | st.integers(0, 5).map(lambda minute: (60.0 * minute, 60.0 * minute + 60.0)),
)
def test_every_placed_moment_is_valid_and_every_change_counted(
    features, moments, duration, clip_seconds, video, window
):
    durations = {"x": duration} if duration else {}
    moments = moments if window is None else moments[:1]
    query, counted = place(
        features,
        moments,
        video=video,
        clip_seconds=clip_seconds,
        durations=durations,
        in_video=clip_seconds > 0,
        window=window,
    )
    if query is None:
        assert sum(counted.values()) == 1
        return
    if clip_seconds:
        end = 30.0 if query.clip_id == "long.3" else 60.0
    else:
        end = durations.get(video, 60.0 if video == "x" else 210.0)
    assert all(0 <= s <= e <= end + STEP and s < end for s, e in query.moments)
    if not counted:
        assert [e - s for s, e in query.moments] == pytest.approx([e - s for s, e in moments])


# Of each form: the name of its file, and a function that writes rows of moments of clip `x`.
def json_rows(row, field="ts", id_field="desc_id", as_field=list):
    def rows(moments):
        return "".join(
            json.dumps(row | {id_field: number, field: as_field(moment)}) + "\n"
            for number, moment in enumerate(moments)
        )

    return rows


def in_clip(row, video="vid_name"):
    return {name: value for name, value in row.items() if name != "duration"} | {video: "x"}


def plain_rows(moments):
    rows = ({"video": "x", "text": "red", "start": s, "end": e} for s, e in moments)
    return "".join(json.dumps(row) + "\n" for row in rows)


def csv_rows(*columns):
    def rows(moments):
        return "".join(",".join(columns).format(s=s, e=e) + "\n" for s, e in moments)

    return rows


def didemo_rows(moments):
    rows = [
        in_clip(DIDEMO, "video") | {"annotation_id": n, "times": [[int(s // 5), int(e // 5)]]}
        for n, (s, e) in enumerate(moments)
        if s >= 0
    ]
    return json.dumps(rows)


FORMS = {
    "plain": plain_rows,
    "tvr": json_rows(in_clip(TVR)),
    "tvc": json_rows(in_clip(TVC | {"descs": None}), id_field="clip_id"),
    "tvqa": json_rows(in_clip(TVQA), id_field="qid", as_field="{0[0]}-{0[1]}".format),
    "how2r": csv_rows("x", "[0:60]", "[{s}:{e}]", "red"),
    "how2qa": csv_rows("x", "[{s}:{e}]", "one", "two", "three", "what?", "four"),
    "didemo": didemo_rows,
}
MOMENTS = [(1.0, 2.0), (69.7, 93.1), (50.0, 80.5), (-2.0, 5.0), (-9.0, -5.0), (59.0, 61.0)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clip_seconds", [0, 60])
def test_what_is_built_is_valid_in_all_forms(features, form, clip_seconds, tmp_path):
    TOKENIZER.save(tmp_path / "tokenizer.json")
    (tmp_path / "rows").write_text(FORMS[form](MOMENTS))
    folder = features.files("x")[0].parent
    build.main(
        [
            *("raw", f"--features={folder}", f"--form={form}", f"--clip_seconds={clip_seconds}"),
            *(f"--queries=train={tmp_path / 'rows'}", f"--seconds_per_feature={STEP}"),
            *(f"--tokenizer={tmp_path}", "--workers=1", f"--out={tmp_path / 'films'}"),
        ]
    )
    validation = validate(tmp_path / "films")
    assert not validation.errors.counts
    left_out = validation.metadata.left_out
    # The windows of How2R and How2QA, and the clips of DiDeMo, say less of these moments.
    if form not in ("how2r", "how2qa", "didemo"):
        assert {name: left_out[name] for name in (AFTER, BEFORE, OUTSIDE)} == {
            AFTER: 1,
            BEFORE: 1,
            OUTSIDE: 2,
        }
        assert validation.metadata.queries == {"train": len(MOMENTS)}
    assert left_out[AFTER] >= 1


def test_what_is_built_of_a_database_is_valid(tmp_path):
    write_lmdb(tmp_path / "tv", {"x": msgpack_value(np.ones((40, 4), np.float16))})
    question = {"q": "Who?", "a0": "I", "a1": "you", "vid_name": "x", "input_ids": [[9], [1], [2]]}
    values = {
        str(n): question | {"ts": ts}
        for n, ts in enumerate(["69.7-93.1", "50-80.5", "-2-5", "nan-nan", [9, 8], "-3--1", [1, 2]])
    }
    write_texts(tmp_path / "tvqa.db", values, {"task": "tvqa"})
    TOKENIZER.save(tmp_path / "tokenizer.json")
    build.main(
        [
            *("original", f"--video_db={tmp_path / 'tv'}", f"--seconds_per_feature={STEP}"),
            *(f"--queries_db=train={tmp_path / 'tvqa.db'}", f"--tokenizer={tmp_path}"),
            *("--workers=1", f"--out={tmp_path / 'films'}"),
        ]
    )
    validation = validate(tmp_path / "films")
    assert not validation.errors.counts
    assert validation.metadata.left_out == {
        "moments with impossible times: not used": 2,
        OUTSIDE: 2,
        AFTER: 1,
        BEFORE: 1,
    }
    records = QuerySplit(tmp_path / "films", "train")
    moments = {q.query_id: q.moments.tolist() for q in map(records.read, range(len(records)))}
    assert moments == {
        **{query_id: [] for query_id in "0345"},
        "1": [[50.0, 60.0]],
        "2": [[0.0, 5.0]],
        "6": [[1.0, 2.0]],
    }
