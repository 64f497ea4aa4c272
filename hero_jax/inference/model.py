"""HERO for use: an exported model encodes clips and queries, answers, judges and describes.

    from hero_jax import inference

    model = inference.load("export")
    clip = model.clip("film", features, [(0.0, 2.5, "the red circle jumps")])
    index = inference.build_index(model, [clip], "index")
    found = inference.search(model, index, ["a red circle jumps"], top=5)

Of the project it needs what `requirements-inference.txt` lists: neither TensorFlow nor a config
framework.
"""

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.errors import InputError
from data.pipeline import packing, segments
from data.pipeline.captions import Captions
from data.pipeline.choices import Choices
from data.pipeline.units import cut
from data.records.assembly import make_clip, make_query
from data.records.reader import Split
from data.schema import Clip, RawClip, RawQuery, RawSubtitle
from hero_jax.index.entries import Entry, Line
from hero_jax.inference import exported
from hero_jax.inference.windows import WINDOW_OVERLAP, window
from hero_jax.tasks.captioning import generate_captions

# Clips of a batch to encode.
CLIPS_AT_ONCE = 16
# Rows of a batch of queries, few for few, and what the length of a row is a multiple of.
QUERY_ROWS = (1, 4, 16)
ROW_MULTIPLE = 64


@dataclasses.dataclass(frozen=True)
class Answer:
    """probabilities: of each answer; best: the number of the likeliest; moment: where it is shown,
    first and last second of the clip."""

    probabilities: tuple[float, ...]
    best: int
    moment: tuple[float, float]


def load(path) -> "Model":
    """Reads an export. A run that was not exported is `Model(hero_jax.export.from_run(workdir))`.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    return Model(exported.read(path))


class Model:
    """A model with its weights on the first device.

    Attributes:
      exported: `hero_jax.inference.exported.Exported`.
      features: what it reads, `hero_jax.inference.exported.Features`.
      identity: JSON values that embeddings have to share to be compared.
      width: of embeddings.
    """

    def __init__(self, source: exported.Exported):
        self.exported, self.features = source, source.features
        description = source.description
        self.identity = {"identity": description["identity"], "data": description["data"]}
        self.tasks = source.tasks()
        self.tokenizer = source.tokenizer
        self.width = description["model"]["hidden_size"]
        self.graphdef, self.params = nnx.split(source.model())
        self._jitted: dict = {}

    def run(self, name, function, *arguments):
        """function(model, *arguments), compiled once for a name and the arguments' shapes."""
        if name not in self._jitted:
            graphdef = self.graphdef
            self._jitted[name] = jax.jit(lambda p, *x: function(nnx.merge(graphdef, p), *x))
        return jax.device_get(self._jitted[name](self.params, *arguments))

    # What there is to be searched

    def clip(
        self,
        clip_id: str,
        features: np.ndarray | Sequence[np.ndarray],
        subtitles: Iterable[tuple[float, float, str]] = (),
        *,
        video_id: str = "",
        start: float = 0.0,
    ) -> Clip:
        """A clip from arrays.

        Args:
          clip_id: its name.
          features: `[frames, width]`, or the parts that stand side by side in them (2D, 3D); one
            every `self.features.seconds_per_feature` seconds.
          subtitles: (first second, last second, text), in time of the clip.
          video_id, start: the video that it is cut from, and where in it it begins (seconds).

        Raises:
          InputError: features of another width, or that are not finite; impossible times.
        """
        parts = (features,) if isinstance(features, np.ndarray) else tuple(features)
        widths = self.features.widths
        if len(parts) == 1 and parts[0].ndim == 2 and parts[0].shape[1] == sum(widths):
            parts = tuple(np.split(parts[0], np.cumsum(widths)[:-1], axis=1))
        found = tuple(part.shape[-1] for part in parts)
        if found != widths:
            raise InputError(
                f"clip {clip_id} has features of widths {found}, and the model reads {widths}: "
                "extract them as those that it was trained on."
            )
        said = tuple(RawSubtitle(text, begin, end) for begin, end, text in subtitles)
        raw = RawClip(clip_id, parts, said, video_id=video_id, video_start=start)
        return make_clip(raw, widths, self.tokenizer, self.features.seconds_per_feature)

    def records(self, dataset, split: str, on_corrupt: str = "error") -> Iterator[Clip]:
        """The clips of a dataset that `data.build` made.

        Raises:
          InputError: no such dataset or split, or one that the model is not made for.
        """
        clips = Split(dataset, split, on_corrupt)
        expected, found = self.exported.description["data"], clips.metadata
        for what, here, there in (
            ("features of widths", list(found.feature_widths), expected["feature_widths"]),
            (
                "seconds between features of",
                found.seconds_per_feature,
                expected["seconds_per_feature"],
            ),
            ("the tokenizer", found.tokenizer, expected["tokenizer"]),
        ):
            if here != there:
                raise InputError(
                    f"dataset {dataset} has {what} {here}, and the model was made for {there}: "
                    "build the dataset to match."
                )
        return filter(None, map(clips.read, range(len(clips))))

    def encode_clips(self, clips: Iterable[Clip]) -> Iterator[Entry]:
        """Clips in the order they come; a long one as windows that overlap, `NAME#0`, `NAME#1`, ...

        An entry's frames are `[F, width]` in the model's own precision.
        """
        windows = (window for clip in clips for window in self._windows(clip))
        config = self._config(self.exported.batch(), CLIPS_AT_ONCE)
        laid_out = (
            (clip, start, segments.prepare(clip, 0, config, self.features, framed=True))
            for clip, start in windows
        )
        for batch, inside in self._packed(laid_out, config):
            frames = self.run("encode_clips", _encode_clips, batch)[0]
            for own, (clip, start, prepared) in zip(frames, inside, strict=False):
                yield self._entry(clip, start, own[: len(prepared.frame_features)])

    def _windows(self, clip):
        """(clip, seconds of its video at which it begins), of a long one in parts."""
        most, frames = self.exported.batch()["max_frames"], len(clip.frame_features)
        if frames <= most:
            return [(clip, clip.video_start)]
        step = max(round(most * (1 - WINDOW_OVERLAP)), 1)
        firsts = [*range(0, frames - most, step), frames - most]
        seconds = self.features.seconds_per_feature
        return [
            (window(clip, number, first, most), clip.video_start + first * seconds)
            for number, first in enumerate(firsts)
        ]

    def _entry(self, clip, start, frames):
        shift = clip.video_start
        lines = tuple(
            Line(begin + shift, end + shift, text)
            for begin, end, text in zip(
                clip.subtitle_starts.tolist(),
                clip.subtitle_ends.tolist(),
                clip.subtitle_texts,
                strict=True,
            )
        )
        return Entry(clip.clip_id, clip.video_id or clip.clip_id, start, frames, lines)

    def _config(self, batch, clips):
        """Limits of a batch of so many clips, with as many rows for each as in training."""
        rows = -(-clips * batch["rows_per_group"] // batch["clips_per_group"])
        return batch.changed(groups=1, clips_per_group=clips, rows_per_group=rows)

    def _packed(self, laid_out, config):
        """Batches of clips, and what is in each; items end with the clip's `Prepared`."""
        arrays, packer, inside = {}, None, []
        for item in laid_out:
            if packer is None or packer.full or not packer.add(item[-1]):
                if inside:
                    yield arrays, inside
                inside, own = [], config
                arrays, packer = self._empty(own)
                # Rare, and each size is compiled once: a clip of more words than several have.
                while not packer.add(item[-1]):
                    own = own.changed(rows_per_group=2 * own.rows_per_group)
                    arrays, packer = self._empty(own)
            inside.append(item)
        if inside:
            yield arrays, inside

    def _empty(self, config):
        features = self.features
        arrays = packing.clip_arrays(1, config, features.feature_width, features.special_ids.pad)
        return arrays, packing.ClipPacker(_group(arrays), config)

    # Queries

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """One vector for each sentence, `[N, width]` float32.

        What is longer than the model has places for is cut, with a warning.

        Raises:
          InputError: an empty sentence.
        """
        config = self.exported.batch()
        length = -(-(config.max_query_tokens + 1) // ROW_MULTIPLE) * ROW_MULTIPLE
        waiting = [self._words(text, config.max_query_tokens) for text in texts][::-1]
        vectors = []
        while waiting:
            tokens = sum(len(words) + 1 for words in waiting)
            rows = next((n for n in QUERY_ROWS if n * length >= tokens), QUERY_ROWS[-1])
            own = config.changed(query_rows_per_group=rows, row_length=length)
            pad = self.features.special_ids.pad
            arrays = packing.query_arrays(1, own, rows * length // 2, pad)
            packer = packing.QueryRows(_group(arrays), own, self.features.special_ids)
            while waiting and packer.add([waiting[-1]]):
                waiting.pop()
            found = self.run("encode_queries", _encode_queries, arrays)[0]
            vectors.append(found[: packer.queries])
        return np.concatenate([np.zeros((0, self.width), np.float32), *vectors])

    def _words(self, text, most):
        query = make_query(RawQuery("", "", text), "query", self.tokenizer)
        if not text.strip():
            raise InputError("a query is empty: write what is to be found.")
        if len(query.token_ids) > most:
            warnings.warn(
                f"a query of {len(query.token_ids)} tokens is cut to {most}: {text[:40]!r}...",
                stacklevel=3,
            )
        return cut(query.token_ids, most)

    # Questions, statements, captions

    def answer(self, clip: Clip, question: str, answers: Sequence[str]) -> Answer:
        """Which of the answers is right.

        Raises:
          InputError: the model was not trained to answer, or there are no answers.
        """
        task = self._task("question_answering", "answer questions")
        if not answers:
            raise InputError(f"the question {question!r} comes without answers to choose from.")
        query = RawQuery("", "", question, answers=tuple(answers))
        batch, frames = self._asked(task, clip, query, "question", len(answers))
        logits, start, end = (
            x[0, 0] for x in self.run("answer", lambda m, b: task.logits(m, b, None), batch)
        )
        weights = np.exp(logits - logits.max())
        seconds = self.features.seconds_per_feature
        # The likeliest pair of a first and a last frame.
        pairs = np.where(np.tri(frames, dtype=bool).T, start[:frames, None] + end[:frames], -np.inf)
        first, last = np.unravel_index(pairs.argmax(), pairs.shape)
        return Answer(
            tuple((weights / weights.sum()).tolist()),
            int(logits.argmax()),
            (float(first * seconds), float((last + 1) * seconds)),
        )

    def entails(self, clip: Clip, statement: str) -> float:
        """The probability that a statement about a clip is true.

        Raises:
          InputError: the model was not trained to judge statements.
        """
        task = self._task("inference", "judge statements")
        query = RawQuery("", "", statement)
        batch, _ = self._asked(task, clip, query, "statement", 1)
        logits = self.run("entails", lambda m, b: task.logits(m, b, None), batch)
        return float(1 / (1 + np.exp(-logits[0, 0, 0])))

    def caption(self, clip: Clip, moment: tuple[float, float] | None = None) -> str:
        """A sentence about a moment of a clip (seconds), or without one about all of it.

        Raises:
          InputError: the model was not trained to describe.
        """
        task = self._task("captioning", "describe moments")
        moments = () if moment is None else (moment,)
        query = RawQuery("", "", "", moments=moments)
        batch, _ = self._asked(task, clip, query, "caption", 1)

        def describe(model, batch):
            head = model.heads[task.name]
            return generate_captions(model, head, batch, config=task.config, tokens=task.tokens)

        words = self.run("caption", describe, batch)[0, 0].tolist()
        end = task.tokens.sep
        return self.tokenizer.decode(words[: words.index(end)] if end in words else words).strip()

    def _task(self, kind, what):
        """The run's task of a kind."""
        for task in self.tasks.values():
            if task.block == kind:
                return task
        known = ", ".join(self.tasks) or "none"
        raise InputError(
            f"this model was not trained to {what} (its tasks: {known}): export a run that was."
        )

    def _asked(self, task, clip, query, query_type, count):
        """A batch of one clip with what is asked of it, and the number of its frames."""
        config = self._config(self.exported.batch(task.name), 1)
        config = config.changed(choices=count, queries_per_clip=1)
        features = dataclasses.replace(self.features, query_type=query_type)
        layout = (Captions if query_type == "caption" else Choices)(config, features)
        query = make_query(query, query_type, self.tokenizer)
        prepared = layout.prepare(clip, 0, [(0, query)])
        while True:
            batch = layout.arrays(1)
            if layout.packer(_group(batch)).add(prepared):
                return batch, len(prepared.frame_features)
            config["rows_per_group"] *= 2


def _group(arrays):
    """The arrays of a batch's only group."""
    return {name: array[0] for name, array in arrays.items()}


def _encode_clips(model, batch):
    return model.encode_clips(batch).astype(model.temporal.dtype)


def _encode_queries(model, batch):
    names = ("token_ids", "position_ids", "segment_ids")
    rows = {name: batch[f"query_{name}"] for name in names}
    rows |= {name: batch[name] for name in ("query_index", "query_mask")}
    return model.encode_queries(rows).astype(jnp.float32)
