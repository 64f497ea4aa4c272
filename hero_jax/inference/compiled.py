"""Functions of an exported model for programs that only have JAX, as `jax.export` writes them.

Each function is a file `NAME.jaxexport` that `jax.export.deserialize` reads, for CPU, GPU and TPU.
Its arguments are the weights, as `safetensors.numpy.load_file("weights.safetensors")` returns them,
and the arrays below. Sizes in lower case are free; those in upper case are limits of the model.

  encode_clip    frame_features [b, F, D] float16, num_frames [b], token_ids [b, s, L],
                 token_counts [b, s], frame_subtitle [b, F]    -> frames [b, F, H]
  encode_query   token_ids [b, Q], token_counts [b]            -> queries [b, H]
  score          queries [b, H], frames [c, F, H], num_frames [c]  -> [b, c]
  spans          queries [b, H], frames [b, F, H], num_frames [b]  -> start and end logits [b, F]

Queries, frames, scores and logits are float32; all other arrays without a dtype are int32.

A subtitle is its `token_ids` without special tokens. `token_counts` is the number of its tokens,
without padding, and `frame_subtitle` is the number of the subtitle that each frame is under, -1 for
none. In a clip without subtitles, every five consecutive frames are under a subtitle without
tokens. The fields of `batch` in model.json say more:

  row_length         A subtitle, its frames, the text after it and one special token fit a row; the
                     last tokens that do not fit are ignored.
  context_subtitles  The tokens of a subtitle begin with those of so many subtitles before it, fewer
                     if they do not all fit the row.
  segmentation       With `clip`, all frames are under one subtitle that has the words of the whole
                     clip; with `frames`, under one without tokens.

A text is `[SEP] question [SEP] answer`, `[SEP] event` or `[SEP] statement`. A moment is its first
frame and the frame after its last.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import export

from data.arguments import user_path
from data.config import Config
from data.errors import InputError, reason
from data.pipeline.segments import BEGUN_BY_CLS
from data.schema import SpecialIds
from hero_jax.inference.exported import Exported
from hero_jax.models.heads import clip_scores
from hero_jax.models.hero import HERO
from hero_jax.models.params import unflatten
from hero_jax.tasks.base import ExportedFunction, Task

PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIX = ".jaxexport"
# Shapes as `jax.export.symbolic_shape` reads them, and dtypes.
Shapes = Sequence[tuple[str, Any]]


def write(source: Exported, folder: Path) -> None:
    """Writes all functions of a model, and a README, into a new folder."""
    folder.mkdir()
    weights = {
        path: jax.ShapeDtypeStruct(value.shape, value.dtype)
        for path, value in source.params.items()
    }
    for name, (function, shapes) in functions(source).items():
        exported = export.export(jax.jit(function), platforms=PLATFORMS)(weights, *shapes)
        (folder / f"{name}{SUFFIX}").write_bytes(exported.serialize())
    (folder / "README.md").write_text(_readme(source), encoding="utf-8")


def _readme(source: Exported) -> str:
    usages = [
        f"  {function.name:<14} the arguments of encode_clip, {function.usage}"
        for task in source.tasks().values()
        if (function := task.exported(source.batch(task.name)))
    ]
    text = "# Compiled functions\n\n" + (__doc__ or "")
    task_functions = "\nFunctions of the model's tasks:\n\n" + "\n".join(usages) + "\n"
    return text + task_functions if usages else text


def read(path: str | PathLike) -> Callable[..., Any]:
    """Reads a function of an export, which takes weights and arrays.

    Raises:
      InputError: there is no such file, or it cannot be read.
    """
    path = user_path(path)
    try:
        return export.deserialize(bytearray(path.read_bytes())).call
    except Exception as error:  # JAX raises errors of many classes for a damaged file.
        raise InputError(
            f"{path} cannot be read ({reason(error)}): name a file NAME{SUFFIX} of an export"
        ) from error


def functions(source: Exported) -> dict[str, tuple[Callable[..., Any], list]]:
    """Returns each function, which takes weights and arrays, and the shapes of its arrays."""
    graphdef, abstract = source.abstract()
    made: dict[str, tuple[Callable[..., Any], list]] = {}

    def model(weights: dict[str, jax.Array]) -> HERO:
        params = jax.tree.map(lambda x: x, abstract)
        nnx.replace_by_pure_dict(params, unflatten(weights))
        return nnx.merge(graphdef, params)

    def add(name: str, function: Callable[..., Any], shapes: Shapes) -> None:
        # A letter is one size within a function.
        scope = export.SymbolicScope()
        arrays = [
            jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope), dtype)
            for shape, dtype in shapes
        ]
        made[name] = (lambda weights, *x: function(model(weights), *x), arrays)

    limits, size = source.batch(), source.description["model"]["hidden_size"]
    special = source.features.special_ids
    layout = _Layout(special, limits)
    add(
        "encode_clip",
        lambda m, *x: m.encode_clips(layout(*x))[:, 0].astype(jnp.float32),
        _clip_shapes(source, limits),
    )
    words = limits.max_query_tokens
    add("encode_query", _encode_query(special), [(f"b, {words}", jnp.int32), ("b", jnp.int32)])
    queries = (f"b, {size}", jnp.float32)
    for name, function, clips in (
        ("score", lambda m, q, f, n: clip_scores(q, f, _valid(f, n)), "c"),
        ("spans", lambda m, q, f, n: m.span_head(q, f, _valid(f, n)), "b"),
    ):
        frames = (f"{clips}, {limits.max_frames}, {size}", jnp.float32)
        add(name, function, [queries, frames, (clips, jnp.int32)])
    for task in source.tasks().values():
        exported = task.exported(source.batch(task.name))
        if exported is not None:
            add(exported.name, *_task_function(source, task, exported))
    return made


def _task_function(
    source: Exported, task: Task, exported: ExportedFunction
) -> tuple[Callable[..., Any], Shapes]:
    """Returns a task's function of the model and of arrays, and the shapes of the arrays."""
    limits = source.batch(task.name)
    layout, clip = _Layout(source.features.special_ids, limits), _clip_shapes(source, limits)

    def function(model: HERO, *arrays: jax.Array) -> Any:
        features, num_frames, token_ids, token_counts, frame_subtitle, *others = arrays
        clips = features, num_frames, token_ids, token_counts, frame_subtitle
        if exported.texts:
            texts, text_counts = others[:2]
            batch = layout(*clips, texts=(texts, text_counts))
            batch["text_token_ids"], batch["text_lengths"] = texts, text_counts
            batch["choice_mask"] = text_counts[:, None] > 0
        else:
            batch = layout(*clips)
        # Every clip is in its own group.
        return jax.tree.map(lambda x: x[:, 0], exported.call(model, batch, *others))

    return function, [*clip, *exported.arguments]


def _clip_shapes(source: Exported, limits: Config) -> Shapes:
    frames, width = limits.max_frames, source.features.feature_width
    longest = limits.max_tokens * (limits.context_subtitles + 1)
    if limits.segmentation == "clip":
        longest = limits.max_clip_tokens
    return [
        (f"b, {frames}, {width}", jnp.float16),
        ("b", jnp.int32),
        (f"b, s, {longest}", jnp.int32),
        ("b, s", jnp.int32),
        (f"b, {frames}", jnp.int32),
    ]


def _valid(frames: jax.Array, num_frames: jax.Array) -> jax.Array:
    return jnp.arange(frames.shape[1]) < num_frames[:, None]


class _Layout:
    """Makes the model's batch of padded clips: every clip a group, every subtitle a row.

    It is `data.pipeline.segments` and `data.pipeline.packing` in JAX; a property test holds that
    both make the same segments.
    """

    def __init__(self, special: SpecialIds, limits: Config):
        self.pad = special.pad
        begun_by_cls = limits.segmentation in BEGUN_BY_CLS
        self.first = special.cls if begun_by_cls else special.sep
        self.row_length = limits.row_length

    def __call__(
        self,
        features: jax.Array,
        num_frames: jax.Array,
        token_ids: jax.Array,
        token_counts: jax.Array,
        frame_subtitle: jax.Array,
        texts: tuple[jax.Array, jax.Array] | None = None,
    ) -> dict[str, jax.Array]:
        """Returns the batch of clips `[b, ...]`; see the module for the first five arguments.

        Args:
          texts: texts `[b, v, Q]` that follow each subtitle, and their lengths `[b, v]`.
        """
        clips, frames = frame_subtitle.shape
        subtitle = jnp.where(jnp.arange(frames) < num_frames[:, None], frame_subtitle, -1)
        rows = token_ids.shape[1]
        in_row = subtitle[:, None] == jnp.arange(rows)[:, None]  # [b, s, F]
        before = jnp.cumsum(in_row, axis=-1) - 1
        counts = in_row.sum(-1)
        longest = 0 if texts is None else texts[1].max(-1)[:, None]
        text, lengths = self._text(token_ids, token_counts, counts + longest)
        versions = 1
        if texts is not None:
            text, lengths, in_row, before, counts = _with_texts(
                text, lengths, in_row, before, counts, *texts
            )
            versions = texts[0].shape[1]
        slots = jnp.arange(frames + text.shape[-1])
        place = jnp.where(slots < frames, slots, slots - frames)
        is_text = (slots >= frames) & (place < lengths[..., None])
        is_frame = (slots < frames) & (slots < counts[..., None])
        padded = jnp.pad(text, [(0, 0), (0, 0), (frames, 0)], constant_values=self.pad)
        # The k-th frame of a row is the one with k before it.
        order = jnp.argsort(jnp.where(in_row, before, frames), axis=-1)
        order = jnp.pad(order, [(0, 0), (0, 0), (0, text.shape[-1])])
        version = jnp.repeat(jnp.arange(versions), rows)[:, None]
        # The frames of a clip's versions follow each other.
        frame_index = jnp.where(is_frame, order + version * frames, -1)
        slot = jnp.arange(versions * rows)[:, None] * slots.shape[0] + before
        slot = jnp.where(in_row, slot, -1).reshape(clips, versions, rows, frames).max(2)
        in_row = jnp.where(jnp.arange(frames) < num_frames[:, None], jnp.arange(frames), -1)
        return {
            "frame_features": features[:, None],
            "num_frames": num_frames[:, None],
            # A clip has a frame row for itself, so these two are the same.
            "frame_place": in_row[:, None],
            "clip_slot": in_row[:, None],
            "token_ids": jnp.where(is_text, padded, self.pad),
            "position_ids": jnp.where(is_text | is_frame, place, 0),
            "segment_ids": (is_text | is_frame).astype(jnp.int32),
            "frame_index": frame_index,
            "frame_slot": slot,
        }

    def _text(
        self, token_ids: jax.Array, token_counts: jax.Array, others: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the special token and the words of each subtitle, and the number of both.

        Args:
          others: `[b, s]`, number of slots of a row that are not the subtitle's.
        """
        text = jnp.pad(token_ids, [(0, 0), (0, 0), (1, 0)], constant_values=self.first)
        room = jnp.maximum(self.row_length - 1 - others, 0)
        return text, jnp.minimum(token_counts, room) + 1


def _with_texts(
    text: jax.Array,
    lengths: jax.Array,
    in_row: jax.Array,
    before: jax.Array,
    counts: jax.Array,
    texts: jax.Array,
    text_counts: jax.Array,
) -> tuple[jax.Array, ...]:
    """Returns the first five arrays with every row once for each text, which follows its words.

    The rows of a text are consecutive.
    """
    (clips, rows, _), versions = text.shape, texts.shape[1]

    def repeated(x: jax.Array) -> jax.Array:
        return jnp.repeat(x[:, None], versions, axis=1)

    room = text.shape[-1] + texts.shape[-1]
    slots, start = jnp.arange(room), repeated(lengths)[..., None]
    words = jnp.pad(repeated(text), [(0, 0)] * 3 + [(0, texts.shape[-1])])
    tail = jnp.take_along_axis(
        jnp.broadcast_to(texts[:, :, None], (clips, versions, rows, texts.shape[-1])),
        jnp.clip(slots - start, 0, texts.shape[-1] - 1),
        axis=-1,
    )
    text = jnp.where(slots < start, words, tail)
    lengths = repeated(lengths) + text_counts[..., None]

    def flat(x: jax.Array) -> jax.Array:
        return x.reshape(clips, versions * rows, *x.shape[3:])

    return flat(text), flat(lengths), *(flat(repeated(x)) for x in (in_row, before, counts))


def _encode_query(special: SpecialIds) -> Callable[..., jax.Array]:
    """Returns the function that encodes queries; see the module."""

    def encode(model: HERO, token_ids: jax.Array, token_counts: jax.Array) -> jax.Array:
        words = jnp.pad(token_ids, [(0, 0), (1, 0)], constant_values=special.cls)
        valid = jnp.arange(words.shape[1]) <= token_counts[:, None]
        rows = {
            "token_ids": words,
            "position_ids": jnp.where(valid, jnp.arange(words.shape[1]), 0),
            "segment_ids": valid.astype(jnp.int32),
            # Every query is alone in the only row of its own group.
            "query_index": jnp.where(valid, 0, -1),
        }
        rows = {name: value[:, None] for name, value in rows.items()}
        rows["query_mask"] = jnp.ones((words.shape[0], 1), bool)
        return model.encode_queries(rows)[:, 0].astype(jnp.float32)

    return encode
