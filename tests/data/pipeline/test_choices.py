"""Clips in versions: each has every subtitle with its own text after it, and nothing else."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.pipeline.choices import Choices
from tests.data.pipeline.packing_samples import (
    METADATA,
    TOKENS,
    batch_config,
    check_frame_padding,
    clips,
    copy,
    expected_segments,
    found_features,
    found_segments,
    frame_targets,
    goes_on,
    group_of,
    make_clip,
    make_query,
    seen,
    subtitles_of,
)
from tests.paths import GOLDEN

VERSIONS = 3
QUESTIONS = SimpleNamespace(**vars(METADATA) | {"query_type": "question"})
STATEMENTS = SimpleNamespace(**vars(METADATA) | {"query_type": "statement"})
CONFIG = batch_config(choices=VERSIONS, row_length=24, rows_per_group=9, max_query_tokens=7)
SEP = TOKENS.sep
MOMENTS = st.none() | st.tuples(st.floats(0, 15), st.floats(0, 6))


def question(words, answers, label=-1, moment=None, name="question"):
    """A question of these token ids, with answers of these token ids."""
    return make_query(
        name,
        words,
        answers=("answer",) * len(answers),
        answer_token_ids=np.array([*itertools.chain(*answers)], np.int32),
        answer_token_counts=np.array([len(answer) for answer in answers], np.int32),
        label=label,
        moments=np.array([] if moment is None else [moment], float).reshape(-1, 2),
    )


WORDS = st.lists(st.integers(5, 99), max_size=8)


@st.composite
def questions(draw):
    answers = draw(st.lists(WORDS, min_size=1, max_size=VERSIONS))
    moment = draw(MOMENTS)
    return question(
        draw(WORDS),
        answers,
        draw(st.integers(-1, len(answers) - 1)),
        moment and (moment[0], moment[0] + moment[1]),
    )


@st.composite
def statements(draw):
    labels = draw(st.lists(st.integers(-1, 1), min_size=1, max_size=VERSIONS))
    return [
        # Moments of statements are not used, even if they are known.
        make_query(f"s{n}", draw(WORDS), label=label, moments=np.array([[0.0, 3.0]]))
        for n, label in enumerate(labels)
    ]


def answers_of(query) -> list[list[int]]:
    ends = np.cumsum(query.answer_token_counts)[:-1]
    return [part.tolist() for part in np.split(query.answer_token_ids, ends)]


def expected_texts(query) -> list[list[int]]:
    """`[SEP] question [SEP] answer` of each answer, with the answer whole as long as it can be.

    Without a question, `[SEP] answer`.
    """
    answers = [answer[: CONFIG.max_query_tokens] for answer in answers_of(query)]
    room = CONFIG.max_query_tokens - max(map(len, answers))
    asked = [SEP, *query.token_ids[:room]] if len(query.token_ids) else []
    return [[*asked, SEP, *answer] for answer in answers]


def pack(layout, units):
    """A group's arrays, and which units are in it: clips, each with numbered queries."""
    arrays = group_of(layout.arrays(1))
    packer, packed = layout.packer(arrays), []
    for place, (clip, queries) in enumerate(units):
        prepared = layout.prepare(clip, 40 + place, queries)
        before = copy(arrays)
        if not packer.full and packer.add(prepared):
            packed.append((clip, queries, prepared))
            continue
        for name, array in before.items():
            np.testing.assert_array_equal(arrays[name], array)
    return arrays, packed, packer.counts


def check_versions(arrays, place, clip, texts):
    """The rows hold the clip once with each text, and the arrays hold the texts."""
    framed = expected_segments(clip, CONFIG, framed=True)
    assert found_segments(arrays, place, CONFIG) == [
        (
            [version * CONFIG.max_frames + frame for frame in frames],
            [(False, token) for token in [*(token for _, token in words), *text]],
        )
        for version, text in enumerate(texts)
        for frames, words in framed
    ]
    first = place * VERSIONS
    lengths = arrays["text_lengths"][first : first + VERSIONS].tolist()
    assert lengths == [len(text) for text in texts] + [0] * (VERSIONS - len(texts))
    for row, text in zip(arrays["text_token_ids"][first:], texts, strict=False):
        np.testing.assert_array_equal(row, text + [TOKENS.pad] * (len(row) - len(text)))


def check_group(arrays, packed, counts):
    """Checks that frames and slots are inverse in a group, and that padding is empty."""
    slots, frames = arrays["frame_slot"].reshape(-1), arrays["frame_index"].reshape(-1)
    used = np.flatnonzero(frames >= 0)
    np.testing.assert_array_equal(slots[frames[used]], used)
    assert len(used) == (slots >= 0).sum()
    places = len(packed)
    check_frame_padding(arrays)
    assert not arrays["num_frames"][places:].any()
    assert not arrays["choice_mask"][places:].any()
    assert not arrays["span_mask"][places:].any()
    assert (arrays["labels"][places:] == -1).all()
    assert not arrays["text_lengths"][places * VERSIONS :].any()
    assert (arrays["text_token_ids"][places * VERSIONS :] == TOKENS.pad).all()
    assert not arrays["held_out"].any()
    assert counts["clips"] == places
    assert counts["queries"] == arrays["choice_mask"].sum()
    assert counts["filled_slots"] == (arrays["segment_ids"] > 0).sum()
    assert counts["filled_query_slots"] == arrays["text_lengths"].sum()
    assert counts["cut_tokens"] == sum(prepared.cut_tokens for _, _, prepared in packed)


def cut_words(clip) -> int:
    return int(clip.token_counts.sum()) - sum(map(len, subtitles_of(clip, CONFIG)))


@given(st.lists(st.tuples(clips(), questions()), min_size=1, max_size=4))
def test_a_clip_is_read_once_with_each_answer(units):
    layout = Choices(CONFIG, QUESTIONS)
    arrays, packed, counts = pack(
        layout, [(clip, [(7 + n, query)]) for n, (clip, query) in enumerate(units)]
    )
    for place, (clip, [(number, query)], prepared) in enumerate(packed):
        texts = expected_texts(query)
        check_versions(arrays, place, clip, texts)
        versions = len(texts)
        absent = VERSIONS - versions
        mask = arrays["choice_mask"][place].tolist()
        assert mask == [True] * versions + [False] * absent
        right = [-1] * versions if query.label < 0 else np.eye(versions, dtype=int)[query.label]
        assert arrays["labels"][place].tolist() == [*right, *[-1] * absent]
        assert arrays["query_numbers"][place, :versions].tolist() == [number] * versions
        assert arrays["clip_numbers"][place] == prepared.number
        num_frames = min(len(clip.frame_features), CONFIG.max_frames)
        assert arrays["num_frames"][place] == num_frames
        np.testing.assert_array_equal(
            found_features(arrays, place), clip.frame_features[:num_frames]
        )
        # A row for itself.
        assert arrays["clip_slot"][place, 0] == place * CONFIG.max_frames
        moment = seen(query.moment, num_frames)
        assert arrays["span_mask"][place] == (moment is not None)
        assert prepared.cut_moments == goes_on(query.moment, num_frames)
        if moment is not None:
            span = tuple(arrays["query_spans"][place].tolist())
            assert span == frame_targets(moment, num_frames)
    check_group(arrays, packed, counts)


@given(st.lists(st.tuples(clips(), statements()), min_size=1, max_size=4))
def test_a_clip_is_read_once_with_each_statement_of_a_pair(units):
    layout = Choices(CONFIG, STATEMENTS)
    numbered = [
        (clip, [(10 * n + place, query) for place, query in enumerate(queries)])
        for n, (clip, queries) in enumerate(units)
    ]
    arrays, packed, counts = pack(layout, numbered)
    for place, (clip, queries, prepared) in enumerate(packed):
        most = CONFIG.max_query_tokens
        check_versions(
            arrays, place, clip, [[SEP, *query.token_ids[:most]] for _, query in queries]
        )
        versions = len(queries)
        assert arrays["choice_mask"][place].sum() == versions
        labels = [query.label for _, query in queries]
        assert arrays["labels"][place].tolist() == labels + [-1] * (VERSIONS - versions)
        numbers = arrays["query_numbers"][place, :versions].tolist()
        assert numbers == [number for number, _ in queries]
        lost = sum(max(len(query.token_ids) - most, 0) for _, query in queries)
        assert prepared.cut_tokens == cut_words(clip) + lost
    assert not arrays["span_mask"].any()
    check_group(arrays, packed, counts)


@given(questions())
def test_questions_that_do_not_fit_are_not_trained_on_and_others_are_not_cut(query):
    layout = Choices(CONFIG, QUESTIONS)
    clip = make_clip(np.random.default_rng(0), [3], [0])
    texts = layout.prepare(clip, 0, [(0, query)]).annotated[0].texts
    asked = [SEP, *query.token_ids] if len(query.token_ids) else []
    whole = [[*asked, SEP, *answer] for answer in answers_of(query)]
    fits = max(map(len, whole)) <= CONFIG.max_query_tokens + (2 if asked else 1)
    assert (texts == whole) == fits
    problem = layout.problem(query)
    if query.label < 0:
        assert problem == "queries without a label"
    else:
        assert bool(problem) != fits
        assert fits or problem.startswith("queries of more than 7 tokens")


@given(st.integers(0, 20), st.integers(-1, 1))
def test_statements_that_do_not_fit_are_not_trained_on(length, label):
    problem = Choices(CONFIG, STATEMENTS).problem(
        make_query("s", range(5, 5 + length), label=label)
    )
    assert bool(problem) == (label < 0 or length > CONFIG.max_query_tokens)


def test_a_question_that_is_cut_keeps_its_answers_apart():
    query = question([10, 11, 12, 13, 14, 15], [[20], [30, 31, 32]], label=1)
    clip = make_clip(np.random.default_rng(0), [9], [0])
    layout = Choices(CONFIG, QUESTIONS)
    assert "the longest answer included" in layout.problem(query)
    prepared = layout.prepare(clip, 0, [(0, query)])
    assert prepared.annotated[0].texts == [
        [SEP, 10, 11, 12, 13, SEP, 20],
        [SEP, 10, 11, 12, 13, SEP, 30, 31, 32],
    ]
    # Two words of the question and three of the subtitle, each counted once for both versions.
    assert prepared.cut_tokens == 2 + 3


def test_more_answers_than_a_batch_has_room_for_are_an_error():
    clip = make_clip(np.random.default_rng(0), [3], [0])
    query = question([10], [[20]] * (VERSIONS + 1), name="crowded")
    with pytest.raises(InputError, match=r"'crowded' has 4 answers.*batch\.choices=3"):
        Choices(CONFIG, QUESTIONS).prepare(clip, 0, [(0, query)])


def test_a_text_too_long_for_a_row_is_an_error():
    config = batch_config(choices=1, row_length=10, max_query_tokens=7)
    clip = make_clip(np.random.default_rng(0), [3], [0, 0])
    query = question(range(5, 10), [[20]])
    with pytest.raises(InputError, match=r"'clip'.* 11 frames and tokens.*max_query_tokens"):
        Choices(config, QUESTIONS).prepare(clip, 0, [(0, query)])


def test_a_clip_without_frames_under_subtitles_is_packed_without_segments():
    clip = make_clip(np.random.default_rng(0), [3], [-1, -1])
    query = question([10], [[20], [30]], label=0)
    arrays, packed, _ = pack(Choices(CONFIG, QUESTIONS), [(clip, [(0, query)])])
    assert len(packed) == 1
    assert not (arrays["segment_ids"] > 0).any()
    assert arrays["num_frames"][0] == 2
    assert arrays["choice_mask"][0].tolist() == [True, True, False]


@pytest.mark.parametrize("name", ["equal", "ragged"])
def test_spans_of_questions_are_the_originals(name):
    frames = np.load(GOLDEN / name / "clips.npz")
    expected = np.load(GOLDEN / name / "video_qa.npz")
    step = {"seconds_per_feature": float(expected["frame_interval"])}
    metadata = SimpleNamespace(**vars(QUESTIONS) | step)
    config = batch_config(choices=5, max_frames=12, row_length=64, max_query_tokens=20)
    for clip in range(4):
        num_frames = len(frames[f"clip{clip}/frame_features"])
        source = make_clip(np.random.default_rng(0), [], [-1] * num_frames)
        words = expected[f"clip{clip}/question_tokens"]
        answers = [expected[f"clip{clip}/answer{n}_tokens"].tolist() for n in range(5)]
        query = question(words, answers, moment=expected[f"clip{clip}/seconds"])
        (asked,) = Choices(config, metadata).prepare(source, 0, [(0, query)]).annotated
        assert asked.span == tuple(expected[f"clip{clip}/span"].tolist())


def test_events_without_a_question_have_one_special_token():
    """As in VLEP; a question that has no room has two."""
    clip = make_clip(np.random.default_rng(0), [3], [0, 0])
    for words, most, special in (([], 7, [SEP]), ([10], 2, [SEP, SEP])):
        config = batch_config(choices=2, row_length=24, max_query_tokens=most)
        query = question(words, [[20, 21], [30]], label=1)
        (asked,) = Choices(config, QUESTIONS).prepare(clip, 0, [(0, query)]).annotated
        assert asked.texts == [[*special, 20, 21], [*special, 30]]
        assert (asked.labels, asked.span) == ([0, 1], None)
