"""Any clips and queries, by hypothesis, and functions that compare and write them."""

import dataclasses

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from data.building.dataset import build_dataset
from data.building.plan import Building
from data.report import Report
from data.schema import Clip, Query
from data.sources.base import ClipSource
from data.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(["the red square meets the blue circle"] * 3, 280)
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
FLOAT16 = st.floats(-1000, 1000, width=16)


def assert_equal(left: Clip | Query, right: Clip | Query) -> None:
    """Compares all fields with their types, arrays exactly."""
    assert type(left) is type(right)
    for field in dataclasses.fields(left):
        ours, theirs = getattr(left, field.name), getattr(right, field.name)
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype, field.name
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        else:
            assert ours == theirs, field.name


@st.composite
def clips(draw) -> Clip:
    """Draws any clip that a record can hold, even if its parts do not fit together."""
    num_frames, width = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    counts = draw(st.lists(st.integers(0, 5), max_size=4))

    def array(dtype, length, elements):
        return draw(numpy_st.arrays(dtype, length, elements=elements))

    seconds = st.floats(0, 1e4, width=32)
    return Clip(
        clip_id=draw(TEXT),
        frame_features=array(np.float16, (num_frames, width), FLOAT16),
        duration=draw(st.floats(0, 1e9)),
        subtitle_texts=tuple(draw(st.lists(TEXT, min_size=len(counts), max_size=len(counts)))),
        subtitle_starts=array(np.float32, len(counts), seconds),
        subtitle_ends=array(np.float32, len(counts), seconds),
        token_ids=array(np.int32, sum(counts), st.integers(0, 2**31 - 1)),
        token_counts=np.array(counts, np.int32),
        frame_subtitle=array(np.int32, num_frames, st.integers(-1, len(counts) - 1)),
        story=draw(TEXT),
        frame_images=tuple(draw(st.lists(st.binary(max_size=20), max_size=3))),
        video_id=draw(TEXT),
        video_start=draw(st.floats(0, 1e6)),
    )


@st.composite
def queries(draw) -> Query:
    ids = st.integers(0, 2**31 - 1)
    counts = draw(st.lists(st.integers(0, 5), max_size=4))
    moments = st.tuples(st.integers(0, 3), st.just(2))
    return Query(
        query_id=draw(TEXT),
        clip_id=draw(TEXT),
        text=draw(TEXT),
        token_ids=draw(numpy_st.arrays(np.int32, st.integers(0, 9), elements=ids)),
        moments=draw(numpy_st.arrays(np.float64, moments, elements=st.floats(0, 1e6))),
        kind=draw(st.sampled_from(["", "v", "t", "vt"])),
        answers=tuple(draw(st.lists(TEXT, min_size=len(counts), max_size=len(counts)))),
        answer_token_ids=draw(numpy_st.arrays(np.int32, sum(counts), elements=ids)),
        answer_token_counts=np.array(counts, np.int32),
        label=draw(st.integers(-1, 4)),
        group=draw(TEXT),
    )


def build(
    out,
    clips,
    queries=None,
    *,
    query_type="query",
    seconds_per_feature=1.5,
    left_out=(),
    **building,
):
    """Builds a dataset with TOKENIZER and returns its metadata."""
    source = ClipSource(
        clips,
        seconds_per_feature,
        {split: list(of_split) for split, of_split in (queries or {}).items()},
        query_type,
        Report(dict(left_out)),
    )
    return build_dataset(out, source, TOKENIZER, Building(**building))[0]
