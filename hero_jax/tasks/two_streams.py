"""Predictions of two models together, each of which reads one channel, as VALUE combines them.

Models, predictions and streams come in pairs: of the model that reads the video, and of the one
that reads the subtitles. Each encodes clips and queries for itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.errors import InputError
from data.pipeline.units import AnnotatedSplit
from hero_jax.metrics import retrieval
from hero_jax.models.batch import Batch
from hero_jax.models.decoding import StepFunction
from hero_jax.models.hero import HERO
from hero_jax.models.ops import take_slots
from hero_jax.retrieval import two_streams
from hero_jax.retrieval.results import Ranking
from hero_jax.retrieval.two_streams import EncodedStream
from hero_jax.tasks.base import Task
from hero_jax.tasks.captioning import Captioning
from hero_jax.tasks.entailment import Entailment
from hero_jax.tasks.generating import generate, word_step
from hero_jax.tasks.question_answering import QuestionAnswering
from hero_jax.tasks.retrieval import (
    MomentRetrieval,
    Search,
    VideoRetrieval,
    has_readable_clip,
    ordered_clips,
    ordered_queries,
    queries_and_clips,
)

Models = tuple[HERO, HERO]
Predictions = tuple[dict, dict]

# Captions that are generated at once.
CAPTIONS_AT_ONCE = 64


def stream_task(task: Task) -> Task:
    """Returns a task that predicts what `complete` reads of one model.

    Raises:
      InputError: predictions of this kind of task cannot be combined.
    """
    if not any(isinstance(task, kind) for kind in COMPLETIONS):
        raise InputError(
            f"task {task.name} of kind {task.kind} has no form for two streams: evaluate its runs "
            "one by one"
        )
    if isinstance(task, Captioning):
        return _MomentFrames(task.settings, task.tokens, task.name, task.kind)
    return task


def complete(
    tasks: tuple[Task, Task], models: Models, predictions: Predictions, split: AnnotatedSplit
) -> dict:
    """Returns the predictions of both models together, as `Task.complete` does those of one.

    Args:
      tasks: of the two models, of one kind; the settings of predictions are those of the first.
      models: with their parameters on a device.
      predictions: arrays of the passes of `stream_task` over the split.
      split: the clips and queries.
    """
    completion = next(of for kind, of in COMPLETIONS.items() if isinstance(tasks[0], kind))
    return completion(tasks, models, predictions, split)


def _answers(
    tasks: tuple[Task, Task], models: Models, predictions: Predictions, split: AnnotatedSplit
) -> dict:
    """Returns the logarithms of the means of the probabilities of answers as logits."""
    del tasks, models, split
    first, second = predictions
    asked = first["choice_mask"].any(-1)
    logits = np.array(first["logits"], np.float64)
    numbers = first["query_numbers"][asked][:, 0]
    rows = second["choice_mask"].any(-1)
    theirs = _in_order(second["logits"][rows], second["query_numbers"][rows][:, 0], numbers)
    logits[asked] = mean_of_softmaxes(logits[asked], theirs.astype(np.float64))
    return {**first, "logits": logits}


def _judgements(
    tasks: tuple[Task, Task], models: Models, predictions: Predictions, split: AnnotatedSplit
) -> dict:
    """Returns logits of the means of the probabilities of statements."""
    del tasks, models, split
    first, second = predictions
    asked, rows = first["choice_mask"], second["choice_mask"]
    logits = np.array(first["logits"], np.float64)
    numbers = first["query_numbers"][asked]
    theirs = _in_order(second["logits"][rows], second["query_numbers"][rows], numbers)
    logits[asked] = mean_of_sigmoids(logits[asked], theirs.astype(np.float64))
    return {**first, "logits": logits}


def mean_of_softmaxes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the logarithm of the mean of the softmaxes of logits `[..., V]`."""
    logs = [x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in (first, second)]
    return np.logaddexp(*logs) - np.log(2)


def mean_of_sigmoids(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the logit of the mean of the sigmoids of logits."""
    true, false = (
        np.logaddexp(-np.logaddexp(0, -s * first), -np.logaddexp(0, -s * second)) for s in (1, -1)
    )
    return true - false


def _in_order(rows: np.ndarray, numbers: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Returns rows, of records with these numbers, in the order of other numbers."""
    by_number = np.argsort(numbers)
    return rows[by_number[np.searchsorted(numbers, order, sorter=by_number)]]


def _ranking(
    tasks: tuple[Search, Search], models: Models, predictions: Predictions, split: AnnotatedSplit
) -> dict:
    """Returns the ranking of both, and the numbers of the records it ranks."""
    task = tasks[0]
    _, num_frames, clip_numbers = ordered_clips(predictions[0])
    _, query_numbers = ordered_queries(predictions[0])
    readable = np.ones(len(query_numbers), bool)
    if len(clip_numbers) < len(split.clip_ids):
        readable = has_readable_clip(query_numbers, clip_numbers, split)
    numbers = {"query_numbers": query_numbers[readable], "clip_numbers": clip_numbers}
    streams = [
        EncodedStream(model.span_head, ordered_queries(one)[0][readable], ordered_clips(one)[0])
        for model, one in zip(models, predictions, strict=True)
    ]
    own_clip = retrieval.ground_truth_clips(*queries_and_clips(numbers, split))
    return {**numbers, "ranking": _rank(task, streams, num_frames, own_clip)}


def _rank(
    task: Search, streams: Sequence[EncodedStream], num_frames: np.ndarray, own_clip: np.ndarray
) -> Ranking:
    settings = task.settings
    if isinstance(task, MomentRetrieval):
        return two_streams.rank(streams, num_frames, settings, own_clip)
    return two_streams.rank_clips(
        streams, num_frames, top_clips=settings.top_clips, temperature=settings.temperature
    )


class _MomentFrames(Captioning):
    """Captioning, with the frames of moments as predictions in place of captions."""

    def predict(self, model: HERO, batch: Batch) -> dict[str, jax.Array]:
        frames = model.encode_clips(batch).astype(model.temporal.dtype)
        return {
            "frames": take_slots(frames, batch["query_clip"]),
            **{name: batch[name] for name in ("caption_ranges", "query_numbers", "query_mask")},
        }


def _captions(
    tasks: tuple[Captioning, Captioning],
    models: Models,
    predictions: Predictions,
    split: AnnotatedSplit,
) -> dict:
    """Returns captions of which each word is chosen by the mean of both models' logits."""
    del split
    first, second = ({name: x[one["query_mask"]] for name, x in one.items()} for one in predictions)
    numbers = first["query_numbers"]
    frames = first["frames"], _in_order(second["frames"], second["query_numbers"], numbers)
    graphdefs, states = zip(*map(nnx.split, models), strict=True)

    @jax.jit
    def write(states, *arrays):
        merged = tuple(nnx.merge(*one) for one in zip(graphdefs, states, strict=True))
        return write_captions(tasks, merged, *arrays)

    tokens = []
    for start in range(0, len(numbers), CAPTIONS_AT_ONCE):
        rows = slice(start, start + CAPTIONS_AT_ONCE)
        block = [x[rows] for x in (*frames, first["caption_ranges"], numbers)]
        count = len(block[0])
        missing = min(CAPTIONS_AT_ONCE, len(numbers)) - count
        block = [np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for x in block]
        tokens.append(jax.device_get(write(states, *block))[:count])
    return {
        "tokens": np.concatenate(tokens),
        "query_numbers": numbers,
        "query_mask": np.ones(len(numbers), bool),
    }


def write_captions(
    tasks: tuple[Captioning, Captioning],
    models: Models,
    first: jax.Array,
    second: jax.Array,
    ranges: jax.Array,
    numbers: jax.Array,
) -> jax.Array:
    """Returns captions `[N, max_steps]` int32: words, SEP, padding.

    Args:
      first, second: `[N, F, H]`, the frames of each caption's clip as each model encodes them.
      ranges: `[N, 2]`, first frame of the moment, and the one after its last.
      numbers: `[N]`, of the captions' records.
    """
    settings = tasks[0].settings
    place = jnp.arange(first.shape[1])
    mask = (ranges[:, :1] <= place) & (place < ranges[:, 1:])
    steps: list[StepFunction] = []
    caches = []
    for task, model, frames in zip(tasks, models, (first, second), strict=True):
        decoder = task.decoder(model)
        steps.append(word_step(model, decoder, decoder.project(frames), mask))
        caches.append(decoder.init_cache((len(first), settings.width), settings.max_steps))

    def step(words: jax.Array, position: jax.Array, kept: Any) -> tuple[jax.Array, Any]:
        both = [one(words, position, cache) for one, cache in zip(steps, kept, strict=True)]
        (logits, cache), (others, other_cache) = both
        return (logits + others) / 2, [cache, other_cache]

    active = jnp.ones(len(first), bool)
    return generate(step, caches, active, numbers, settings=settings, tokens=tasks[0].tokens)


COMPLETIONS: Mapping[type[Task], Callable[..., dict]] = {
    QuestionAnswering: _answers,
    Entailment: _judgements,
    MomentRetrieval: _ranking,
    VideoRetrieval: _ranking,
    Captioning: _captions,
}
