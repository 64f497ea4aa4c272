"""Compares two streams with golden vectors of VALUE; see `report.py`.

Such a directory has a file of arrays, NAME.npz, for each NAME that two of the variants beside it
hold: the models are those of its siblings whose variant is video_only and sub_only. A NAME that one
of them lacks is not compared, and said so.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from hero_jax.models.batch import frame_mask
from hero_jax.models.heads import clip_scores
from hero_jax.retrieval.two_streams import mean_log_probabilities, mean_of_exponentials
from hero_jax.tasks import matching
from hero_jax.tasks import two_streams as combined
from tests.golden import downstream, pretraining
from tests.golden.vectors import OUTPUT_TOLERANCE, Golden, Report

TEMPERATURE = 20.0


def is_two_stream(directory):
    """Returns whether a directory has vectors of two streams."""
    return any("vr_scores" in np.load(path) for path in directory.glob("*.npz"))


def report(directory):
    """Reports each file of a directory; returns True if all of them pass."""
    passed = []
    for path in sorted(directory.glob("*.npz")):
        print(f"{path}:")
        homes = [home_of(directory, path.stem, variant) for variant in ("video_only", "sub_only")]
        if None in homes:
            print(f"     not compared, there is no {path.stem} of both streams")
            continue
        outcome = Report()
        report_streams(dict(np.load(path)), [Golden(home, outcome) for home in homes], outcome)
        passed.append(not outcome.failed)
    return all(passed)


def home_of(directory, name, variant):
    """Returns the folder beside a directory that holds vectors of a variant, None if none does."""
    for path in sorted(pathlib.Path(directory).resolve().parent.glob(f"*/{name}/meta.json")):
        if json.loads(path.read_text()).get("variant") == variant:
            return path.parent
    return None


def report_streams(expected, goldens, outcome):
    found = {
        **retrieval(goldens),
        **texts(goldens),
        "video_captioning_greedy_tokens": captions(goldens),
    }
    for name, value in expected.items():
        if name not in found:
            outcome.absent(name)
            continue
        tolerance = OUTPUT_TOLERANCE
        if name.endswith("tokens"):
            value, tolerance = downstream.until_end(value, goldens[0].tokens), 0.0
        outcome.add(name, value, found[name].reshape(value.shape), tolerance)


def retrieval(goldens):
    """Returns scores and probabilities of all queries in all clips."""
    outputs = []
    for golden in goldens:
        vectors = golden.load("vcmr")
        queries = pretraining.queries_of_clips(golden, vectors, [()] * golden.num_clips)
        outputs.append(golden.compute(match, golden.pack(queries)))
    scores, logits = zip(*outputs, strict=True)
    means = np.exp(TEMPERATURE * mean_of_exponentials(scores, TEMPERATURE))
    start, end = jnp.moveaxis(jnp.exp(mean_log_probabilities(logits)), 2, 0)
    frames = np.asarray(frame_mask(goldens[0].batch))[0]
    return {
        "vr_scores": mean_of_exponentials(scores, 0.0),
        "vcmr_scores": means,
        "start_probabilities": jnp.where(frames, start, 0),
        "end_probabilities": jnp.where(frames, end, 0),
    }


def match(module, batch):
    """Returns scores `[N, C]` and span logits `[N, C, 2, F]` of all queries in all clips."""
    queries, clips = (x[0] for x in matching.encode(module, batch, None))
    valid = frame_mask(batch)[0]
    logits = jax.vmap(
        lambda query: jnp.stack(
            module.span_head(jnp.broadcast_to(query, (len(clips), len(query))), clips, valid), 1
        )
    )(queries)
    return clip_scores(queries, clips, valid), logits


def texts(goldens):
    """Returns probabilities of answers, events and statements."""
    found = {}
    for name, batch_of, kind in (
        ("qa", downstream.questions_batch, "question_answering"),
        ("vlep", downstream.events_batch, "question_answering"),
        ("violin", downstream.statements_batch, "inference"),
    ):
        predictions, tasks = [], []
        for golden in goldens:
            task = golden.task(kind, {"head": "qa"}, "any_name")
            expected = golden.load({"qa": "video_qa"}.get(name, name))
            own = golden.with_head(task, expected)
            batch = batch_of(golden, expected)
            predictions.append(jax.tree.map(of_groups, own.compute(predict, batch, task)))
            tasks.append(task)
        logits = combined.complete(tasks, (None, None), predictions, None)["logits"][0]
        probabilities = np.exp(logits) if name != "violin" else 1 / (1 + np.exp(-logits))
        found[f"{name}_probabilities"] = probabilities
    return found


def predict(module, batch, task):
    return task.predict(module, batch)


def of_groups(x):
    return np.asarray(x)


def captions(goldens):
    """Returns the captions of whole clips, a row for each."""
    models, tasks, predictions = [], [], []
    for golden in goldens:
        expected = golden.load("video_captioning")
        task = combined.stream_task(downstream.captioning_task(golden, expected))
        golden = golden.with_head(task, expected)
        batch, names = downstream.captions_batch(golden, expected)
        rows = [n for n, name in enumerate(names) if "caption0" in name]
        outputs = jax.tree.map(of_groups, golden.compute(predict, batch, task))
        predictions.append({name: x[:, rows] for name, x in outputs.items()})
        models.append(golden.model())
        tasks.append(task)
    return combined.complete(tasks, models, predictions, None)["tokens"]
