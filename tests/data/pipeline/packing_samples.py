"""Tiny clips to pack, and functions that recover each clip from a packed group."""

import dataclasses
import math
from types import SimpleNamespace

import ml_collections
import numpy as np
from hypothesis import strategies as st

from data.schema import Clip, Query, SpecialIds

TOKENS = SpecialIds(cls=0, pad=1, sep=2, mask=4)
FEATURE_SIZE = 3
METADATA = SimpleNamespace(
    special_ids=TOKENS,
    seconds_per_feature=1.5,
    feature_width=FEATURE_SIZE,
    query_type="query",
)


def batch_config(**changes) -> ml_collections.ConfigDict:
    """A `batch` block, small."""
    config = ml_collections.ConfigDict(
        {
            "groups": 1,
            "clips_per_group": 3,
            "rows_per_group": 4,
            "query_rows_per_group": 2,
            "frame_rows_per_group": 0,
            "frame_row_length": 0,
            "row_length": 16,
            "queries_per_clip": 2,
            "max_frames": 8,
            "max_tokens": 6,
            "max_query_tokens": 5,
            "choices": 1,
            "context_subtitles": 0,
            "max_subtitles": 0,
            "segmentation": "subtitle",
            "max_clip_tokens": 9,
            "max_waiting": 2,
        }
    )
    config.update(changes)
    return config


def make_clip(rng, words, frame_subtitle, name="clip") -> Clip:
    """A clip of random features and words; words: how many each subtitle has."""
    counts = np.array(words, np.int32)
    return Clip(
        clip_id=name,
        frame_features=rng.integers(1, 99, (len(frame_subtitle), FEATURE_SIZE)).astype(np.float16),
        duration=0.0,
        subtitle_texts=("",) * len(counts),
        subtitle_starts=np.zeros(len(counts), np.float32),
        subtitle_ends=np.zeros(len(counts), np.float32),
        token_ids=rng.integers(5, 100, counts.sum(), np.int32),
        token_counts=counts,
        frame_subtitle=np.array(frame_subtitle, np.int32),
        story="",
        frame_images=(),
        video_id="",
        video_start=0.0,
    )


@st.composite
def clips(draw, max_frames=10, max_words=8, max_subtitles=4) -> Clip:
    """Any clip that can be packed: some longer than is kept, some without subtitles."""
    words = draw(st.lists(st.integers(0, max_words), max_size=max_subtitles))
    owner = st.lists(st.integers(-1, len(words) - 1), min_size=1, max_size=max_frames)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return make_clip(rng, words, draw(owner))


def make_query(name, token_ids, **changes) -> Query:
    """A query about the clip of `make_clip` with no properties but `changes`."""
    query = Query(
        query_id=name,
        clip_id="clip",
        text="words",
        token_ids=np.array(token_ids, np.int32),
        moments=np.zeros((0, 2)),
        kind="",
        answers=(),
        answer_token_ids=np.zeros(0, np.int32),
        answer_token_counts=np.zeros(0, np.int32),
        label=-1,
        group="",
    )
    return dataclasses.replace(query, **changes)


def annotate(rng, words) -> list[Query]:
    """Random queries of so many words each, with random moments."""
    queries = []
    for number, count in enumerate(words):
        start = rng.uniform(0, 10)
        moments = [] if number == 2 else [(start, start + rng.uniform(0, 6))]
        queries.append(
            make_query(
                f"query{number}",
                rng.integers(5, 100, count),
                moments=np.array(moments).reshape(-1, 2),
            )
        )
    return queries


def frame_targets(moment, num_frames, seconds_per_feature=1.5):
    """The golden README's formula; a query without a known moment is about the whole clip."""
    if moment is None:
        return 0, num_frames - 1
    start = min(math.floor(moment[0] / seconds_per_feature), num_frames - 1)
    end = math.ceil(moment[1] / seconds_per_feature) - 1
    return start, min(max(end, start + 1), num_frames - 1)


def seen(moment, num_frames, seconds_per_feature=1.5):
    """The moment, None if it starts more than a frame after the frames that are kept."""
    after = moment is not None and moment[0] > (num_frames + 1) * seconds_per_feature
    return None if after else moment


def goes_on(moment, num_frames, seconds_per_feature=1.5):
    """Returns whether a moment ends more than a frame after the frames that are kept."""
    return moment is not None and moment[1] > (num_frames + 1) * seconds_per_feature


def group_of(batch, group=0) -> dict[str, np.ndarray]:
    """The arrays of one group of a batch."""
    return {name: array[group] for name, array in batch.items()}


def copy(arrays):
    """A copy of arrays that packing may change."""
    return {name: array.copy() for name, array in arrays.items()}


def subtitles_of(clip, config) -> list[np.ndarray]:
    """Words of each subtitle, as many as the config keeps."""
    parts = (
        np.split(clip.token_ids, np.cumsum(clip.token_counts)[:-1])
        if clip.token_counts.size
        else []
    )
    return [part[: config.max_tokens] for part in parts]


def expected_segments(
    clip, config, *, framed=False
) -> list[tuple[list[int], list[tuple[int, int]]]]:
    """By definition: the frames of each segment, and its words as (subtitle, token).

    framed: without subtitles that have no frames.
    """
    subtitles = subtitles_of(clip, config)
    owner = clip.frame_subtitle[: config.max_frames]
    words = [[(j, int(token)) for token in part] for j, part in enumerate(subtitles)]
    if config.segmentation == "frames":
        return [(list(range(len(owner))), [])]
    if config.segmentation == "clip":
        everything = [word for part in words for word in part]
        room = min(config.max_clip_tokens, config.row_length - 1 - len(owner))
        return [(list(range(len(owner))), everything[:room])]
    if not subtitles:
        frames = list(range(len(owner)))
        return [(frames[first : first + 5], []) for first in range(0, len(frames), 5)]
    segments = []
    for j in range(len(words)):
        context = words[max(j - config.context_subtitles, 0) : j + 1]
        frames = [frame for frame, subtitle in enumerate(owner) if subtitle == j]
        if frames or not framed:
            segments.append((frames, [word for part in context for word in part]))
    return segments


def found_segments(arrays, clip_place, config):
    """Each segment of a clip in the rows: (frames, words as (is held out, token)).

    Frames count on from version to version. Checks on the way that each segment is whole, in one
    row, in order, and no other's.
    """
    begun_by_cls = config.segmentation in ("frames", "subtitle_cls")
    first_token = TOKENS.cls if begun_by_cls else TOKENS.sep
    frame_slot = arrays["frame_slot"].reshape(-1)
    used = arrays["segment_ids"] > 0
    of_clip = used & (arrays["clip_index"] == clip_place)
    segments = []
    numbers = np.unique(arrays["subtitle_index"][of_clip])
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    for number in numbers:
        rows, slots = np.nonzero(of_clip & (arrays["subtitle_index"] == number))
        row = rows[0]
        assert (rows == row).all()
        np.testing.assert_array_equal(slots, np.arange(slots[0], slots[0] + len(slots)))
        segment_id = arrays["segment_ids"][row, slots[0]]
        np.testing.assert_array_equal(
            np.flatnonzero(arrays["segment_ids"][row] == segment_id), slots
        )
        index, tokens = arrays["frame_index"][row, slots], arrays["token_ids"][row, slots]
        n = int((index >= 0).sum())
        assert (index[:n] >= 0).all()
        positions = arrays["position_ids"][row, slots]
        np.testing.assert_array_equal(positions, [*range(n), *range(len(slots) - n)])
        assert (tokens[:n] == TOKENS.pad).all()
        assert tokens[n] == first_token
        held_out = arrays["held_out"][row, slots]
        assert not held_out[: n + 1].any()
        clip_of_frame, frames = owners_of_frames(arrays, index[:n])
        assert (clip_of_frame == clip_place).all()
        flat = row * config.row_length + slots[:n]
        np.testing.assert_array_equal(frame_slot[index[:n]], flat)
        words = list(zip(held_out[n + 1 :].tolist(), tokens[n + 1 :].tolist(), strict=True))
        segments.append((frames.tolist(), words))
    return segments


def owners_of_frames(arrays, index):
    """The clip of each frame of a version, and its number, which counts on from one to the next."""
    row, column = np.divmod(index, arrays["frame_place"].shape[1])
    row, version = np.divmod(row, len(arrays["frame_slot"]) // len(arrays["frame_place"]))
    clip, frame = np.divmod(arrays["frame_place"][row, column], arrays["clip_slot"].shape[1])
    return clip, version * arrays["clip_slot"].shape[1] + frame


def found_features(arrays, clip_place):
    """The features of a clip's frames; checks that they follow each other in one row."""
    slots = arrays["clip_slot"][clip_place]
    slots, beyond = np.split(slots, arrays["num_frames"][clip_place : clip_place + 1])
    assert (beyond == -1).all()
    np.testing.assert_array_equal(slots, slots[0] + np.arange(len(slots)))
    length = arrays["frame_place"].shape[1]
    assert slots[0] // length == slots[-1] // length
    first = clip_place * arrays["clip_slot"].shape[1]
    places = arrays["frame_place"].reshape(-1)
    np.testing.assert_array_equal(places[slots], first + np.arange(len(slots)))
    return arrays["frame_features"].reshape(len(places), -1)[slots]


def check_frame_padding(arrays):
    """Nothing is in the slots of frame rows that are no clip's."""
    empty = arrays["frame_place"] == -1
    assert (~empty).sum() == arrays["num_frames"].sum() == (arrays["clip_slot"] >= 0).sum()
    assert not arrays["frame_features"][empty].any()
    versions = len(arrays["frame_slot"]) // len(empty)
    assert (arrays["frame_slot"][empty.repeat(versions, axis=0)] == -1).all()


def found_queries(arrays, clip_place):
    """(words, span) of each query of a clip, in order; checks that each is whole and in one row."""
    queries = []
    for n in np.flatnonzero(arrays["query_mask"] & (arrays["query_clip"] == clip_place)):
        rows, slots = np.nonzero(arrays["query_index"] == n)
        row = rows[0]
        assert (rows == row).all()
        segment_ids = arrays["query_segment_ids"][row]
        assert segment_ids[slots[0]] > 0
        np.testing.assert_array_equal(np.flatnonzero(segment_ids == segment_ids[slots[0]]), slots)
        np.testing.assert_array_equal(
            arrays["query_position_ids"][row, slots], np.arange(len(slots))
        )
        tokens = arrays["query_token_ids"][row, slots].tolist()
        assert tokens[0] == TOKENS.cls
        queries.append((tokens[1:], tuple(arrays["query_spans"][n].tolist())))
    return queries
