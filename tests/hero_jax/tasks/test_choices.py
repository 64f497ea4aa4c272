"""Questions and statements: what a clip yields with a text, and the losses of that."""

import functools
import itertools
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from data.pipeline.choices import Choices
from hero_jax.tasks.base import Context
from hero_jax.tasks.registry import make_task
from tests.data.pipeline.packing_samples import make_query
from tests.hero_jax.random_models import random_model
from tests.hero_jax.tiny import (
    FEATURE_SIZE,
    METADATA,
    QUICK,
    TOKENS,
    VARIANTS,
    make_clips,
    make_config,
)

CONTEXT = Context(key=jax.random.key(0), dropout_key=None, step=0)
SPAN_WEIGHT = 0.4
QUESTIONS = make_task("question_answering", {"span_weight": SPAN_WEIGHT}, TOKENS, "qa")
STATEMENTS = make_task("inference", {}, TOKENS, "vli")
TOLERANCE = 2e-5
CHOICES = 3
MOST_WORDS = 8
# Sizes of a batch: what differs is padding, and what lies beside what.
ALONE = {"groups": 1, "clips_per_group": 1, "rows_per_group": 6}
TOGETHER = {"groups": 1, "clips_per_group": 4, "rows_per_group": 16}
WIDER = {
    "groups": 2,
    "clips_per_group": 3,
    "rows_per_group": 11,
    "row_length": 64,
    "max_frames": 12,
    "max_query_tokens": MOST_WORDS + 3,
    "choices": CHOICES + 1,
}
NO_LABELS = ("labels", "query_spans", "span_mask")


def words(rng, most):
    return rng.integers(TOKENS.first_word, TOKENS.end_word, rng.integers(1, most + 1)).tolist()


def make_question(name, text, answers, label, moment=None):
    return make_query(
        name,
        text,
        answers=("answer",) * len(answers),
        answer_token_ids=np.array([*itertools.chain(*answers)], np.int32),
        answer_token_counts=np.array([len(answer) for answer in answers], np.int32),
        label=label,
        moments=np.array([] if moment is None else [moment], float).reshape(-1, 2),
    )


def make_questions():
    """(clip, question) with 2 or 3 answers; two are about one clip, some lack label or moment."""
    clips, rng = make_clips(6), np.random.default_rng(1)
    made = []
    for n, clip in enumerate([*clips, clips[3]]):
        answers = [words(rng, 4) for _ in range(2 + n % 2)]
        label = -1 if n in (2, 5) else n % len(answers)
        moment = None if n in (1, 5) else (n / 2, n / 2 + 3.0)
        made.append((clip, [make_question(f"q{n}", words(rng, 4), answers, label, moment)]))
    return made


def make_statements():
    """(clip, statements): pairs and single ones, with all labels."""
    rng = np.random.default_rng(2)
    return [
        (
            clip,
            [
                make_query(f"s{n}.{k}", words(rng, MOST_WORDS), label=(n + k) % 3 - 1)
                for k in range(1 + n % 3)
            ],
        )
        for n, clip in enumerate(make_clips(6))
    ]


UNITS = {"question": make_questions(), "statement": make_statements()}
# Of a unit's queries, the numbers of their records.
STRIDE = 10


def pack(query_type, groups, layout=ALONE, units=None, encoder="hierarchical"):
    """A batch of the units of these numbers in groups; all must fit."""
    units = UNITS[query_type] if units is None else units
    config = make_config(encoder).batch
    config.update(choices=CHOICES, max_query_tokens=MOST_WORDS)
    config.update(layout)
    metadata = SimpleNamespace(**vars(METADATA), feature_width=FEATURE_SIZE, query_type=query_type)
    choices = Choices(config, metadata)
    batch = choices.arrays(config.groups)
    for g, numbers in enumerate(groups):
        packer = choices.packer({name: array[g] for name, array in batch.items()})
        for number in numbers:
            clip, queries = units[number]
            numbered = list(enumerate(queries, STRIDE * number))
            assert packer.add(choices.prepare(clip, number, numbered))
    return batch


@functools.cache
def model(encoder="hierarchical"):
    heads = {task.name: task.make_head for task in (QUESTIONS, STATEMENTS)}
    return random_model(make_config(encoder).model, heads)


@functools.cache
def compiled(encoder="hierarchical"):
    """Both tasks' logits and predictions of a batch; labels are not given to it."""
    graphdef, params = model(encoder)

    def outputs(params, batch):
        module = nnx.merge(graphdef, params)
        _, start, end = QUESTIONS.logits(module, batch, None)
        return {
            "start": start,
            "end": end,
            "question": QUESTIONS.predict(module, batch),
            "statement": STATEMENTS.predict(module, batch),
        }

    return functools.partial(jax.jit(outputs, compiler_options=QUICK), params)


def run(batch, encoder="hierarchical"):
    batch = {name: array for name, array in batch.items() if name not in NO_LABELS}
    return jax.device_get(compiled(encoder)(batch))


def yields(query_type, batch, encoder="hierarchical"):
    """By unit: the logits of its versions, and start and end logits of its clip's frames."""
    outputs, found = run(batch, encoder), {}
    for g, c in np.argwhere(batch["choice_mask"].any(-1)):
        frames = batch["num_frames"][g, c]
        found[int(batch["clip_numbers"][g, c])] = {
            "logits": outputs[query_type]["logits"][g, c][batch["choice_mask"][g, c]],
            "start": outputs["start"][g, c, :frames],
            "end": outputs["end"][g, c, :frames],
        }
    return found


@functools.cache
def alone(query_type, number, encoder="hierarchical"):
    return yields(query_type, pack(query_type, [[number]]), encoder)[number]


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.isfinite(found[name]).all(), name
        np.testing.assert_allclose(found[name], value, atol=TOLERANCE, rtol=0, err_msg=name)


# What a clip yields with a text


@st.composite
def batches(draw, query_type):
    """A layout, and some of the units in any order, in its groups."""
    layout = draw(st.sampled_from([TOGETHER, WIDER]))
    order = draw(st.permutations(range(len(UNITS[query_type]))))
    groups = []
    for _ in range(layout["groups"]):
        count = draw(st.integers(0, layout["clips_per_group"]))
        groups.append(order[:count])
        order = order[count:]
    return layout, groups


@pytest.mark.parametrize("query_type", UNITS)
@settings(max_examples=12, deadline=None)
@given(st.data())
def test_what_a_unit_yields_is_what_it_yields_alone(query_type, data):
    layout, groups = data.draw(batches(query_type))
    together = yields(query_type, pack(query_type, groups, layout))
    assert together.keys() == {number for group in groups for number in group}
    for number, found in together.items():
        assert_close(found, alone(query_type, number))


@pytest.mark.parametrize("encoder", ["text_only", *VARIANTS])
def test_the_same_with_other_encoders(encoder):
    batch = pack("question", [[3, 6, 1, 0]], TOGETHER, encoder=encoder)
    found = yields("question", batch, encoder)
    for number, own in found.items():
        batch = pack("question", [[number]], TOGETHER, encoder=encoder)
        assert_close(own, yields("question", batch, encoder)[number])


@pytest.mark.parametrize("query_type", UNITS)
def test_each_version_is_what_it_is_without_the_others(query_type):
    units = []
    for clip, queries in UNITS[query_type][:4]:
        units += [(clip, [one]) for query in queries for one in single_versions(query)]
    found = [
        yields(query_type, pack(query_type, [[n]], ALONE | {"choices": 1}, units))[n]["logits"]
        for n in range(len(units))
    ]
    expected = np.concatenate([alone(query_type, n)["logits"] for n in range(4)])
    np.testing.assert_allclose(np.concatenate(found), expected, atol=TOLERANCE, rtol=0)
    # They differ, so that the above is not about constants.
    assert len(np.unique(expected.round(3))) == len(expected)


def single_versions(query):
    """A statement, or a question once with each of its answers alone."""
    if not query.answers:
        return [query]
    ends = np.cumsum(query.answer_token_counts)[:-1]
    answers = np.split(query.answer_token_ids, ends)
    return [make_question("one", query.token_ids, [answer], 0) for answer in answers]


@pytest.mark.parametrize("query_type", UNITS)
def test_permuting_versions_permutes_their_logits_and_leaves_spans(query_type):
    for number, (clip, queries) in enumerate(UNITS[query_type]):
        expected = alone(query_type, number)
        for order in itertools.permutations(range(len(expected["logits"]))):
            units = {number: (clip, reordered(queries, order))}
            batch = pack(query_type, [[number]], units=units)
            found = yields(query_type, batch)[number]
            assert_close(found, expected | {"logits": expected["logits"][list(order)]})


def reordered(queries, order):
    """Statements, or a question's answers, in another order."""
    if not queries[0].answers:
        return [queries[place] for place in order]
    (query,) = queries
    answers = np.split(query.answer_token_ids, np.cumsum(query.answer_token_counts)[:-1])
    return [make_question("same", query.token_ids, [answers[k].tolist() for k in order], -1)]


def test_places_without_an_answer_change_nothing():
    """A question of two answers where there is room for two, and for three."""
    assert len(UNITS["question"][0][1][0].answers) == 2
    found = yields("question", pack("question", [[0]], ALONE | {"choices": 2}))[0]
    assert_close(found, alone("question", 0))


@pytest.mark.parametrize("query_type", UNITS)
def test_what_is_in_padding_does_not_matter(query_type):
    batch = pack(query_type, [[3, 0, 2]], TOGETHER)
    before, rng = yields(query_type, batch), np.random.default_rng(0)
    places = np.arange(batch["text_token_ids"].shape[-1])
    beyond = places >= batch["text_lengths"][..., None]
    batch["text_token_ids"][beyond] = rng.integers(5, TOKENS.end_word, beyond.sum())
    places = np.arange(batch["frame_features"].shape[2])
    beyond = places >= batch["num_frames"][..., None]
    batch["frame_features"][beyond] = rng.normal(size=(beyond.sum(), FEATURE_SIZE))
    beyond = batch["segment_ids"] == 0
    batch["token_ids"][beyond] = rng.integers(5, TOKENS.end_word, beyond.sum())
    for number, found in yields(query_type, batch).items():
        assert_close(found, before[number])


# Losses and predictions


@functools.cache
def compiled_loss(query_type):
    graphdef, params = model()
    task = {"question": QUESTIONS, "statement": STATEMENTS}[query_type]

    def loss(params, batch):
        return task.loss(nnx.merge(graphdef, params), batch, CONTEXT)

    return functools.partial(jax.jit(loss, compiler_options=QUICK), params)


def check_loss(query_type, numbers, total, sums):
    """The loss, and metrics as sums and counts, of a batch of these units."""
    batch = pack(query_type, [numbers], TOGETHER)
    found, metrics = jax.device_get(compiled_loss(query_type)(batch))
    np.testing.assert_allclose(found, total, rtol=1e-4, atol=1e-6)
    assert metrics.keys() == sums.keys()
    for name, value in sums.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def surprise(logits, place):
    """-log of the softmax, of what was right."""
    logits = np.asarray(logits, np.float64)
    return np.log(np.exp(logits).sum()) - logits[place]


def average(values):
    return sum(values) / max(len(values), 1)


def expected_of_questions(numbers):
    """From the logits of each question alone."""
    answers, right, spans = [], [], []
    for number in numbers:
        found, (clip, [query]) = alone("question", number), UNITS["question"][number]
        if query.label >= 0:
            answers.append(surprise(found["logits"], query.label))
            right.append(found["logits"].argmax() == query.label)
        if query.moment is not None:
            batch = pack("question", [[number]])
            start, end = batch["query_spans"][0, 0]
            assert 0 <= start <= end < len(clip.frame_features)
            spans += [surprise(found["start"], start), surprise(found["end"], end)]
    total = average(answers) + SPAN_WEIGHT * average(spans)
    return total, {
        "loss": (total, 1),
        "answer_loss": (sum(answers), len(answers)),
        "span_loss": (sum(spans), len(spans)),
        "accuracy": (sum(right), len(right)),
    }


@pytest.mark.parametrize(
    ("numbers", "labels", "moments"),
    [
        ([0, 3, 4, 6], 4, 4),
        # Without a moment, without a label, with both, without either.
        ([1, 2, 3, 5], 2, 2),
        ([5], 0, 0),
        ([], 0, 0),
    ],
)
def test_the_loss_of_questions_is_over_labels_and_moments_that_are_known(numbers, labels, moments):
    total, sums = expected_of_questions(numbers)
    assert (sums["answer_loss"][1], sums["span_loss"][1]) == (labels, 2 * moments)
    check_loss("question", numbers, total, sums)


@pytest.mark.parametrize("numbers", [[1, 2, 4, 5], [0, 3], [0], []])
def test_the_loss_of_statements_is_over_those_that_are_labelled(numbers):
    losses, right = [], []
    for number in numbers:
        logits = alone("statement", number)["logits"].astype(float)
        for logit, query in zip(logits, UNITS["statement"][number][1], strict=True):
            if query.label >= 0:
                probability = 1 / (1 + np.exp(-logit))
                losses.append(-np.log(probability if query.label else 1 - probability))
                right.append((probability > 0.5) == query.label)
    total = average(losses)
    sums = {"loss": (sum(losses), len(losses)), "accuracy": (sum(right), len(right))}
    check_loss("statement", numbers, total, sums)


@pytest.mark.parametrize("query_type", UNITS)
def test_predictions_are_made_without_labels_and_belong_to_their_records(query_type):
    numbers = [3, 5, 1]
    batch = pack(query_type, [numbers], TOGETHER)
    assert set(NO_LABELS) <= batch.keys()
    # `run` takes the labels away.
    outputs = run(batch)
    predictions = outputs[query_type]
    mask = predictions["choice_mask"]
    np.testing.assert_array_equal(mask, batch["choice_mask"])
    if query_type == "question":
        asked = [STRIDE * n for n in numbers for _ in UNITS["question"][n][1][0].answers]
        for name in ("start", "end"):
            np.testing.assert_array_equal(predictions[name], outputs[name].argmax(-1))
    else:
        asked = [STRIDE * n + k for n in numbers for k in range(len(UNITS["statement"][n][1]))]
    assert predictions["query_numbers"][mask].tolist() == asked
    expected = np.concatenate([alone(query_type, n)["logits"] for n in numbers])
    np.testing.assert_allclose(predictions["logits"][mask], expected, atol=TOLERANCE, rtol=0)
