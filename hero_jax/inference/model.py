"""HERO for use: an exported model encodes clips and queries, answers, judges and describes.

    from hero_jax import inference, search

    model = inference.load("export")
    clip = model.clip("film", features, [(0.0, 2.5, "the red circle jumps")])
    index = search.build_index(model, [clip], "index")
    moments = search.search(model, index, ["a red circle jumps"], top=5)

It needs the packages of `requirements-inference.txt`: neither TensorFlow nor a config framework.
"""

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.arguments import instance, number, text
from data.arguments import texts as strings
from data.errors import InputError
from data.pipeline import packing, segments
from data.pipeline.units import UnitLayout, cut
from data.records.assembly import make_clip, make_query
from data.records.reader import Split
from data.schema import Clip, RawClip, RawQuery
from hero_jax.index.entries import Entry
from hero_jax.inference import exported
from hero_jax.inference.arguments import (
    check_clip,
    check_networks,
    check_query,
    feature_parts,
    moment_within,
    readable_clips,
    subtitle_lines,
)
from hero_jax.inference.windows import entry, windows
from hero_jax.models.batch import Batch
from hero_jax.models.hero import HERO
from hero_jax.tasks.base import Task
from hero_jax.tasks.question_answering import Answer

# Clips of a batch to encode.
CLIPS_AT_ONCE = 16
# Numbers of rows in a batch of queries, the fewest that hold them, and the unit of their length.
QUERY_ROWS = (1, 4, 16)
ROW_MULTIPLE = 64


def load(path: str | os.PathLike) -> "Model":
    """Reads an export. A run that was not exported is `Model(hero_jax.export.from_run(workdir))`.

    Raises:
      InputError: it is not an export, or cannot be read.
    """
    return Model(exported.read(path))


class Model:
    """A model with its weights on the first device.

    Attributes:
      exported: the export that it was read from.
      features: what it reads.
      identity: JSON values that comparable embeddings share.
      tasks: of the run, by name.
      tokenizer: that it was trained with.
      width: of embeddings.
    """

    def __init__(self, source: exported.Exported):
        instance(source, "source", exported.Exported, "`hero_jax.export.from_run` returns it")
        self.exported, self.features = source, source.features
        description = source.description
        self.identity = {"identity": description["identity"], "data": description["data"]}
        self.tasks = source.tasks()
        self.tokenizer = source.tokenizer
        self.width: int = description["model"]["hidden_size"]
        self.graphdef, self.params = nnx.split(source.model())
        self._jitted: dict[str, Callable[..., Any]] = {}

    def run(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns function(model, *arguments), compiled once for a name and the shapes."""
        if name not in self._jitted:
            graphdef = self.graphdef
            self._jitted[name] = jax.jit(lambda p, *x: function(nnx.merge(graphdef, p), *x))
        return jax.device_get(self._jitted[name](self.params, *arguments))

    # Clips

    def clip(
        self,
        clip_id: str,
        features: np.ndarray | Sequence[Any],
        subtitles: Iterable[tuple[float, float, str]] = (),
        *,
        video_id: str = "",
        start: float = 0.0,
    ) -> Clip:
        """Makes a clip from arrays.

        Args:
          clip_id: its name.
          features: `[frames, width]`, or the parts that stand side by side in them (2D, 3D); one
            frame every `self.features.seconds_per_feature` seconds. What is not an array becomes
            one.
          subtitles: (first second, last second, text), in time of the clip.
          video_id: of the video that it is cut from.
          start: of the clip in that video, in seconds.

        Raises:
          InputError: features of another form or width, or that are not finite; impossible times.
        """
        clip_id, video_id = text(clip_id, "clip_id"), text(video_id, "video_id")
        widths, start = self.features.widths, number(start, "start")
        parts = feature_parts(features, widths, clip_id)
        lines = subtitle_lines(subtitles, clip_id)
        raw = RawClip(clip_id, parts, lines, video_id=video_id, video_start=start)
        return make_clip(raw, widths, self.tokenizer, self.features.seconds_per_feature)

    def records(
        self, dataset: str | os.PathLike, split: str, on_corrupt: str = "error"
    ) -> Iterator[Clip]:
        """Returns the clips of a dataset that `data.build` made.

        It warns if only one of dataset and model knows the networks of its features.

        Raises:
          InputError: no such dataset or split, or one that the model is not made for.
        """
        clips = Split(dataset, split, on_corrupt)
        data, metadata = self.exported.description["data"], clips.metadata
        for words, actual, expected in (
            ("features of widths", list(metadata.feature_widths), data["feature_widths"]),
            (
                "seconds between features of",
                metadata.seconds_per_feature,
                data["seconds_per_feature"],
            ),
            ("the tokenizer", metadata.tokenizer, data["tokenizer"]),
        ):
            if actual != expected:
                raise InputError(
                    f"dataset {dataset} has {words} {actual}, and the model was made for "
                    f"{expected}: build the dataset to match"
                )
        check_networks(metadata, self.features.networks)
        return filter(None, map(clips.read, range(len(clips))))

    def encode_clips(self, clips: Iterable[Clip]) -> Iterator[Entry]:
        """Yields encoded clips in order; a long one as overlapping windows NAME#0, NAME#1, ...

        An entry's frames are `[F, width]` in the model's own precision.
        """
        config = self._config(self.exported.batch(), CLIPS_AT_ONCE)
        seconds = self.features.seconds_per_feature
        prepared_windows = (
            (window, start, segments.prepare(window, 0, config, self.features, framed=True))
            for clip in readable_clips(clips, self.features.feature_width)
            for window, start in windows(clip, config.max_frames, seconds)
        )
        for batch, inside in self._packed(prepared_windows, config):
            encoded = self.run("encode_clips", _encode_clips, batch)[0]
            for frames, (clip, start, prepared) in zip(encoded, inside, strict=False):
                yield entry(clip, start, frames[: len(prepared.frame_features)])

    def _config(self, batch: exported.Settings, clips: int) -> exported.Settings:
        """Returns the limits of a batch of so many clips, with the rows per clip of training."""
        places = batch["clips_per_group"]
        # Exports of earlier versions say nothing of frame rows, which were those of one clip, or of
        # subtitles in a sequence.
        earlier = {"frame_rows_per_group": places, "frame_row_length": 0, "max_subtitles": 0}
        batch = exported.Settings(earlier | batch)
        names = "rows_per_group", "frame_rows_per_group"
        rows = {name: -(-clips * batch[name] // places) for name in names}
        return batch.changed(groups=1, clips_per_group=clips, **rows)

    def _packed(
        self, items: Iterable[tuple], config: exported.Settings
    ) -> Iterator[tuple[dict[str, np.ndarray], list[tuple]]]:
        """Yields batches of clips, and the items in each; an item ends with its `Prepared`."""
        arrays: dict[str, np.ndarray] = {}
        inside: list[tuple] = []
        packer: packing.ClipPacker | None = None
        for item in items:
            if packer is None or packer.full or not packer.add(item[-1]):
                if inside:
                    yield arrays, inside
                inside, limits = [], config
                arrays, packer = self._empty(limits)
                # A clip of more words than several have is rare, and each size is compiled once.
                while not packer.add(item[-1]):
                    limits = limits.changed(rows_per_group=2 * limits.rows_per_group)
                    arrays, packer = self._empty(limits)
            inside.append(item)
        if inside:
            yield arrays, inside

    def _empty(self, config: exported.Settings) -> tuple[dict[str, np.ndarray], packing.ClipPacker]:
        features = self.features
        arrays = packing.clip_arrays(1, config, features.feature_width, features.special_ids.pad)
        return arrays, packing.ClipPacker(_group(arrays), config)

    # Queries

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Returns a vector for each sentence, `[N, width]` float32.

        A sentence that is longer than the model has positions for is cut, with a warning.

        Raises:
          InputError: an empty sentence.
        """
        config = self.exported.batch()
        length = -(-(config.max_query_tokens + 1) // ROW_MULTIPLE) * ROW_MULTIPLE
        sentences = strings(texts, "texts")
        waiting = [self._words(one, config.max_query_tokens) for one in sentences][::-1]
        vectors = []
        while waiting:
            tokens = sum(len(words) + 1 for words in waiting)
            rows = next((n for n in QUERY_ROWS if n * length >= tokens), QUERY_ROWS[-1])
            limits = config.changed(query_rows_per_group=rows, row_length=length)
            pad = self.features.special_ids.pad
            arrays = packing.query_arrays(1, limits, rows * length // 2, pad)
            packer = packing.QueryRows(_group(arrays), limits, self.features.special_ids)
            while waiting and packer.add([waiting[-1]]):
                waiting.pop()
            encoded = self.run("encode_queries", _encode_queries, arrays)[0]
            vectors.append(encoded[: packer.queries])
        return np.concatenate([np.zeros((0, self.width), np.float32), *vectors])

    def _words(self, sentence: str, most: int) -> Sequence[int]:
        query = make_query(RawQuery("", "", sentence), "query", self.tokenizer)
        if not sentence.strip():
            raise InputError("a query is empty: write what to find")
        if len(query.token_ids) > most:
            warnings.warn(
                f"a query of {len(query.token_ids)} tokens is cut to {most}: {sentence[:40]!r}...",
                stacklevel=3,
            )
        return cut(query.token_ids, most)

    # Tasks

    def respond(self, name: str, clip: Clip, query: RawQuery) -> Any:
        """Returns a task's reply to a query about a clip; see the task's `respond`.

        Args:
          name: of one of `tasks`.
          query: with what the task reads of it: text, answers, moments.

        Raises:
          InputError: no such task, or one that does not read queries about a clip.
        """
        check_query(query)
        check_clip(clip, self.features.feature_width)
        task = self.tasks.get(text(name, "name"))
        if task is None:
            known = ", ".join(self.tasks) or "none"
            raise InputError(f"this model has no task {name!r}: its tasks are {known}")
        batch, num_frames = self._batch_of(task, clip, query)
        return task.respond(
            self.run(f"respond {name}", lambda m, b: task.serve(m, b), batch),
            num_frames=num_frames,
            seconds_per_feature=self.features.seconds_per_feature,
            tokenizer=self.tokenizer,
        )

    def answer(self, clip: Clip, question: str, answers: Sequence[str]) -> Answer:
        """Chooses the right answer of a question about a clip, and finds the moment that shows it.

        Raises:
          InputError: the model was not trained to answer, or there are no answers.
        """
        name = self._task_of_kind("question_answering", "answer questions")
        question, choices = text(question, "question"), strings(answers, "answers")
        if not choices:
            raise InputError(f"the question {question!r} comes without answers to choose from")
        return self.respond(name, clip, RawQuery("", "", question, answers=tuple(choices)))

    def entails(self, clip: Clip, statement: str) -> float:
        """Returns the probability that a statement about a clip is true.

        Raises:
          InputError: the model was not trained to judge statements.
        """
        name = self._task_of_kind("inference", "judge statements")
        return self.respond(name, clip, RawQuery("", "", text(statement, "statement")))

    def caption(self, clip: Clip, moment: tuple[float, float] | None = None) -> str:
        """Returns a sentence about a moment of a clip (seconds), by default about all of it.

        Raises:
          InputError: the model was not trained to describe.
        """
        name = self._task_of_kind("captioning", "describe moments")
        check_clip(clip, self.features.feature_width)
        seconds = len(clip.frame_features) * self.features.seconds_per_feature
        moments = () if moment is None else (moment_within(moment, seconds),)
        return self.respond(name, clip, RawQuery("", "", "", moments=moments))

    def _task_of_kind(self, kind: str, purpose: str) -> str:
        """Returns the name of the run's task of a kind."""
        for name, task in self.tasks.items():
            if task.kind == kind:
                return name
        known = ", ".join(self.tasks) or "none"
        raise InputError(
            f"this model was not trained to {purpose} (its tasks: {known}): export a run that was"
        )

    def _batch_of(
        self, task: Task, clip: Clip, query: RawQuery
    ) -> tuple[dict[str, np.ndarray], int]:
        """Returns a batch of one clip with one query, and the number of its frames."""
        config = self._config(self.exported.batch(task.name), 1)
        config = config.changed(choices=max(len(query.answers), 1), queries_per_clip=1)
        features = dataclasses.replace(self.features, query_type=task.query_type)
        layout = task.layout(config, features)
        if not isinstance(layout, UnitLayout):
            raise InputError(f"task {task.name!r} does not read queries about a clip")
        made = make_query(query, task.query_type, self.tokenizer)
        prepared = layout.prepare(clip, 0, [(0, made)])
        while True:
            batch = layout.arrays(1)
            if layout.packer(_group(batch)).add(prepared):
                return batch, len(prepared.frame_features)
            config["rows_per_group"] *= 2


def _group(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of a batch's only group."""
    return {name: array[0] for name, array in arrays.items()}


def _encode_clips(model: HERO, batch: Batch) -> jax.Array:
    return model.encode_clips(batch).astype(model.temporal.dtype)


def _encode_queries(model: HERO, batch: Batch) -> jax.Array:
    names = ("token_ids", "position_ids", "segment_ids")
    rows = {name: batch[f"query_{name}"] for name in names}
    rows |= {name: batch[name] for name in ("query_index", "query_mask")}
    return model.encode_queries(rows).astype(jnp.float32)
