"""Retrieval of a whole split: batches in any order, queries about no clip, clips there twice."""

import dataclasses
import functools
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx

from data.errors import InputError
from data.pipeline import packing
from data.pipeline.clips import CorpusClips
from data.pipeline.retrieval import QueryTexts, Retrieval, WindowRetrieval
from hero_jax import sharding
from hero_jax.tasks import matching
from hero_jax.tasks.base import Context
from hero_jax.tasks.registry import make_task
from hero_jax.tasks.retrieval import VideoRetrieval
from tests.data.pipeline.packing_samples import make_query
from tests.hero_jax.metrics.test_windows import overlap
from tests.hero_jax.random_models import random_model
from tests.hero_jax.tiny import FEATURE_SIZE, METADATA, QUICK, TOKENS, make_clips, make_config

SECONDS = METADATA.seconds_per_feature
CONTEXT = Context(key=jax.random.key(0), dropout_key=None, step=0)
SETTINGS = {
    "ranking": "lse",
    "margin": 0.1,
    "context_weight": 3.0,
    "query_weight": 5.0,
    "hard_negatives_from": -1,
    "hard_pool": 2,
    "hard_weight": 10.0,
    "top_clips": 4,
    "temperature": 5.0,
    "span_weight": 0.5,
    "span_drop_probability": 0.9,
    "min_span": 0,
    "max_span": 4,
    "max_predictions": 20,
    "nms_iou": 0.5,
    "max_after_nms": 10,
}
VIDEO_SETTINGS = {
    name: value
    for name, value in SETTINGS.items()
    if name in VideoRetrieval.Settings.__dataclass_fields__
}
TASKS = {
    "moments": make_task("moment_retrieval", SETTINGS, TOKENS, "moments"),
    "videos": make_task("video_retrieval", VIDEO_SETTINGS, TOKENS, "videos"),
}
FILES = {"moments": "moments.json", "videos": "clips.json"}
CLIPS = make_clips(6)
DAMAGED = 2
THERE = [number for number in range(len(CLIPS)) if number != DAMAGED]
# Of each record, the clip that the query is about; '' where nobody knows, None a damaged record.
ABOUT = ["c3", "c0", "", None, "c5", "c3", "c4"]
ASKED = [number for number, clip in enumerate(ABOUT) if clip is not None]


def make_queries():
    rng = np.random.default_rng(0)
    return [
        None
        if clip is None
        else make_query(
            f"q{number}",
            rng.integers(TOKENS.first_word, TOKENS.end_word, 3 + number % 3),
            clip_id=clip,
            # Of the fifth nobody knows when.
            moments=np.array([[0.0, 3.0]]) if clip and number != 4 else np.zeros((0, 2)),
        )
        for number, clip in enumerate(ABOUT)
    ]


SPLIT = SimpleNamespace(
    queries=make_queries(),
    clip_ids=["" if number == DAMAGED else clip.clip_id for number, clip in enumerate(CLIPS)],
    metadata=METADATA,
)


@functools.cache
def mesh():
    return sharding.make_mesh(make_config().mesh)


@functools.cache
def model():
    return random_model(make_config().model)


def module():
    return nnx.merge(*model())


@functools.cache
def compiled(function):
    graphdef, params = model()
    run = jax.jit(
        lambda params, batch: function(nnx.merge(graphdef, params), batch), compiler_options=QUICK
    )
    return functools.partial(run, params)


def clip_batch(numbers):
    """A batch of one group with these clips and nothing else."""
    config = make_config().batch
    batch = packing.empty_batch(1, config, FEATURE_SIZE, TOKENS.pad)
    packer = retrieval_layout(config).packer({name: array[0] for name, array in batch.items()})
    for number in numbers:
        assert packer.add(retrieval_layout(config).prepare(CLIPS[number], number, []))
    return batch


def query_batch(numbers):
    """The same with queries."""
    config, size = make_config().batch, 8
    batch = packing.query_arrays(1, config, size, TOKENS.pad)
    batch["query_numbers"] = packing.filled(1, (size,))
    rows = packing.QueryRows({name: array[0] for name, array in batch.items()}, config, TOKENS)
    for place, number in enumerate(numbers):
        assert rows.add([SPLIT.queries[number].token_ids])
        batch["query_numbers"][0, place] = number
    return batch


def retrieval_layout(config):
    return Retrieval(config, SimpleNamespace(**vars(METADATA), feature_width=FEATURE_SIZE))


def predict(clip_batches, query_batches):
    """Predictions of a split that is read in these batches, as evaluation joins them."""
    predictions, task = {}, TASKS["moments"]
    batches = {
        CorpusClips: [clip_batch(numbers) for numbers in clip_batches],
        QueryTexts: [query_batch(numbers) for numbers in query_batches],
    }
    for one_pass in task.passes:
        run = compiled(one_pass.predict)
        parts = [jax.device_get(run(batch)) for batch in batches[one_pass.layout]]
        predictions |= jax.tree.map(lambda *x: np.concatenate(x), *parts)
    return predictions


def shuffled(seed):
    """All clips and queries in batches of any size, some of them empty."""
    rng = np.random.default_rng(seed)

    def batches(numbers, most):
        parts, numbers = [[]], rng.permutation(numbers).tolist()
        while numbers:
            count = rng.integers(0, most + 1)
            parts.append(numbers[:count])
            numbers = numbers[count:]
        return parts

    return batches(THERE, 4), batches(ASKED, 3)


@functools.cache
def completed(name, seed):
    return TASKS[name].complete(module(), predict(*shuffled(seed)), SPLIT, mesh())


def alone():
    """Frames of each clip and vector of each query, encoded by itself."""
    frames = {}
    for number in THERE:
        found = predict([[number]], [[ASKED[0]]])
        frames[number] = found["frames"][0, 0, : len(CLIPS[number].frame_features)]
    queries = {n: predict([[THERE[0]]], [[n]])["queries"][0, 0] for n in ASKED}
    return frames, queries


def cosines(query, frames):
    lengths = np.linalg.norm(query) * np.linalg.norm(frames, axis=-1)
    return frames @ query / lengths


def best_span(query, frames):
    start, end = module().span_head(query, frames, np.ones(len(frames), bool))
    p_start, p_end = (np.exp(np.asarray(x, float)) for x in (start, end))
    spans = [(s, e) for s in range(len(frames)) for e in range(s, min(s + 4, len(frames)))]
    return max(spans, key=lambda span: p_start[span[0]] * p_end[span[1]])


def test_clips_and_queries_are_ranked_in_the_order_of_their_records():
    frames, queries = alone()
    found = {name: completed(name, 0) for name in TASKS}
    for one in found.values():
        assert one["query_numbers"].tolist() == ASKED
        assert one["clip_numbers"].tolist() == THERE
    for row, n in enumerate(ASKED):
        scores = np.array([cosines(queries[n], frames[c]).max() for c in THERE])
        # Places among the clips that are there, not numbers of records.
        places = np.argsort(-scores)[: SETTINGS["top_clips"]]
        for one in found.values():
            ranking = one["ranking"]
            assert ranking.clips[row].tolist() == places.tolist()
            expected = np.exp(SETTINGS["temperature"] * scores[places])
            np.testing.assert_allclose(ranking.clip_scores[row], expected, rtol=1e-4)
        moments = found["moments"]["ranking"].svmr
        if not ABOUT[n]:
            assert (moments.clips[row] == -1).all()
            continue
        own = int(ABOUT[n].removeprefix("c"))
        assert moments.clips[row, 0] == THERE.index(own)
        assert tuple(moments.spans[row, 0]) == best_span(queries[n], frames[own])


@pytest.mark.parametrize("name", TASKS)
def test_what_is_batched_with_what_changes_nothing(name):
    first, second = completed(name, 0), completed(name, 1)
    assert shuffled(0) != shuffled(1)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_metrics_count_what_is_known():
    for name, found in ((name, completed(name, 0)) for name in TASKS):
        metrics = TASKS[name].summarize(found, SPLIT)
        # One query is about no known clip, and of another nobody knows when.
        assert metrics["vr_queries"] == 5
        assert metrics["clips"] == len(THERE)
        assert metrics.get("moment_queries") == {"moments": 4}.get(name)
        own = {row: THERE.index(int(ABOUT[n][1:])) for row, n in enumerate(ASKED) if ABOUT[n]}
        first = found["ranking"].clips[:, 0]
        expected = np.mean([first[row] == place for row, place in own.items()])
        assert metrics["vr_r@1"] == pytest.approx(expected)


@pytest.mark.parametrize("name", TASKS)
def test_the_file_has_every_query_and_moments_in_its_own_clip_where_that_is_known(name):
    found = completed(name, 0)
    files = TASKS[name].submission(found, SPLIT)
    assert files.keys() == {FILES[name]}
    content = json.loads(files[FILES[name]])
    assert content["video2idx"] == {f"c{number}": place for place, number in enumerate(THERE)}
    everyone = [f"q{number}" for number in ASKED]
    ids = {key: [one["desc_id"] for one in content[key]] for key in content.keys() - {"video2idx"}}
    if name == "videos":
        assert ids == {"VR": everyone}
        return
    assert ids == {"VR": everyone, "VCMR": everyone, "SVMR": ["q0", "q1", "q4", "q5", "q6"]}
    # With suppression in the config, what is left after it is handed in.
    kept = found["ranking"].vcmr_nms
    assert [len(one["predictions"]) for one in content["VCMR"]] == kept.counts.tolist()
    for n, one in enumerate(content["VCMR"]):
        times = [prediction[1:3] for prediction in one["predictions"]]
        spans = kept.spans[n, : kept.counts[n]]
        np.testing.assert_allclose(times, (spans + np.array([0, 1])) * SECONDS)


@pytest.mark.parametrize("nms_iou", [0.0, 0.5])
def test_several_windows_are_evaluated_and_handed_in_as_those_of_qvhighlights(nms_iou):
    """The file holds what is counted, after suppression if there is any."""
    settings = {**SETTINGS, "several_moments": "windows", "nms_iou": nms_iou}
    task = make_task("moment_retrieval", settings, TOKENS, "moments")
    found = completed("moments", 0)
    windows = [(0.0, 3.0), (4.5, 9.0), (0.0, 9.0), (3.0, 4.5)]
    queries = [q and dataclasses.replace(q, moments=np.array(windows)) for q in SPLIT.queries]
    split = SimpleNamespace(**{**vars(SPLIT), "queries": queries, "name": "validation"})
    assert (task.layout, TASKS["moments"].layout) == (WindowRetrieval, Retrieval)
    files = task.submission(found, split)
    assert files.keys() == {"moments.json", "hl_val_submission.jsonl"}
    lines = [*map(json.loads, files["hl_val_submission.jsonl"].splitlines())]
    assert [(line["qid"], line["vid"]) for line in lines] == [
        (f"q{number}", ABOUT[number]) for number in ASKED if ABOUT[number]
    ]
    metrics = task.summarize(found, split)
    best = []
    for line in lines:
        start, end, _ = line["pred_relevant_windows"][0]
        best.append(max(overlap((start, end), window) for window in windows))
    assert metrics["mr_r@1_iou0.5"] == np.mean(np.array(best) >= 0.5)
    assert 0 <= metrics["mr_map"] <= metrics["mr_map_iou0.5"] <= 1
    kept = found["ranking"].svmr_nms if nms_iou else found["ranking"].svmr
    known = [row for row, number in enumerate(ASKED) if ABOUT[number]]
    counts = np.minimum(kept.counts[known], 10)
    assert [len(line["pred_relevant_windows"]) for line in lines] == counts.tolist()
    name = "svmr_nms_r@1_iou0.5" if nms_iou else "svmr_r@1_iou0.5"
    assert metrics[name] == metrics["mr_r@1_iou0.5"]


def test_moments_of_annotators_have_no_metrics_of_windows():
    metrics = TASKS["moments"].summarize(completed("moments", 0), SPLIT)
    assert not any(name.startswith("mr_") for name in metrics)


def test_the_meaning_of_several_moments_is_checked():
    with pytest.raises(InputError, match=r"several_moments='many' has to be one of annotators, w"):
        make_task("moment_retrieval", {"several_moments": "many"}, TOKENS)


def test_a_query_about_a_damaged_clip_is_left_out_and_told(capsys):
    queries = list(SPLIT.queries)
    queries[1] = dataclasses.replace(queries[1], clip_id=f"c{DAMAGED}")
    split = SimpleNamespace(**vars(SPLIT) | {"queries": queries})
    task = TASKS["moments"]
    found = task.complete(module(), predict(*shuffled(0)), split, mesh())
    assert "not predicted: 1 queries about damaged clips (q1)" in capsys.readouterr().err
    left = [number for number in ASKED if number != 1]
    assert found["query_numbers"].tolist() == left
    everyone = completed("moments", 0)["ranking"].clips
    np.testing.assert_array_equal(
        found["ranking"].clips, everyone[[ASKED.index(number) for number in left]]
    )
    assert task.summarize(found, split)["vr_queries"] == 4


# Training


def training_batch(asked):
    """A batch of one group: a clip and a query about it, as often as it is asked."""
    config = make_config().batch
    config.queries_per_clip = 1
    chosen = retrieval_layout(config)
    batch = chosen.arrays(1)
    packer = chosen.packer({name: array[0] for name, array in batch.items()})
    for clip, query in asked:
        assert packer.add(chosen.prepare(CLIPS[clip], clip, [(query, SPLIT.queries[query])]))
    return batch


def losses(model, batch):
    """Predictions of the tasks for a batch, with the scores that they are made of."""
    return (
        matching.match(model, batch, None)["scores"],
        matching.matching_losses(model, batch, CONTEXT, TASKS["moments"].settings),
        {name: task.loss(model, batch, CONTEXT)[0] for name, task in TASKS.items()},
    )


def pairs(scores, clips):
    """The golden README's definition of both losses, over queries and clips of this order."""
    neg_ctx, neg_q = np.zeros(len(clips)), np.zeros(len(clips))
    for n, own in enumerate(clips):
        others = [m for m, clip in enumerate(clips) if clip != own]
        surprise = [np.logaddexp(0, scores[n, m] - scores[n, n]) for m in others]
        neg_ctx[n] = np.mean(surprise) if others else 0
        surprise = [np.logaddexp(0, scores[m, n] - scores[n, n]) for m in others]
        neg_q[n] = np.mean(surprise) if others else 0
    return neg_ctx.mean(), neg_q.mean()


@pytest.mark.parametrize(
    "asked",
    [
        [(3, 0), (3, 5)],
        [(3, 0), (3, 5), (0, 1)],
        [(5, 4), (3, 0), (4, 6), (3, 5)],
        [(3, 0), (5, 4)],
    ],
)
def test_a_clip_that_is_twice_in_a_batch_is_not_its_own_negative(asked):
    clips = [clip for clip, _ in asked]
    batch = training_batch(asked)
    scores, (found, metrics), totals = jax.device_get(compiled(losses)(batch))
    neg_ctx, neg_q = pairs(scores.astype(float), clips)
    np.testing.assert_allclose([found["neg_ctx"], found["neg_q"]], [neg_ctx, neg_q], rtol=1e-5)
    if len(set(clips)) == 1:
        assert found["neg_ctx"] == found["neg_q"] == 0
    # Nor is it a mistake to find the one in place of the other.
    best = scores[: len(asked), : len(asked)].argmax(axis=1)
    right = sum(clips[place] == clip for place, clip in zip(best, clips, strict=True))
    np.testing.assert_allclose(metrics["accuracy"], [right, len(asked)])
    ranking = SETTINGS["context_weight"] * neg_ctx + SETTINGS["query_weight"] * neg_q
    np.testing.assert_allclose(totals["videos"], ranking, rtol=1e-5)
    # Out of training spans always count, whatever `span_drop_probability` is.
    moments = ranking + SETTINGS["span_weight"] * found["span"]
    np.testing.assert_allclose(totals["moments"], moments, rtol=1e-5)


def test_a_clip_that_is_twice_there_is_found_whichever_of_its_queries_asks():
    _, (_, metrics), _ = jax.device_get(compiled(losses)(training_batch([(3, 0), (3, 5)])))
    np.testing.assert_array_equal(metrics["accuracy"], [2, 2])
