"""Functions of an exported model for programs that have JAX alone, or less: `jax.export`.

Each is a file `NAME.jaxexport` that `jax.export.deserialize` reads, for CPU, GPU and TPU. It is
called with the weights, as `safetensors.numpy.load_file("weights.safetensors")` gives them, and the
arrays below. Sizes in small letters are free; in capitals they are the model's limits.

  encode_clip    frame_features [b, F, D] float16, num_frames [b], token_ids [b, s, L],
                 token_counts [b, s], frame_subtitle [b, F]    -> frames [b, F, H]
  encode_query   token_ids [b, Q], token_counts [b]            -> queries [b, H]
  score          queries [b, H], frames [c, F, H], num_frames [c]  -> [b, c]
  spans          queries [b, H], frames [b, F, H], num_frames [b]  -> start and end logits [b, F]
  answer         a clip as for encode_clip, texts [b, v, Q + 2], text_counts [b, v]
                                                -> logits [b, v], start and end logits [b, F]
  entails        the same                       -> logits [b, v]
  caption        a clip, moments [b, 2]         -> token ids [b, steps]

All but frames and logits are int32. Here a subtitle is `token_ids` without special tokens,
`token_counts` says how many of them count, and `frame_subtitle` which subtitle each frame is under,
-1 for none. Of a clip without subtitles every five frames are under one of no tokens. With
`context_subtitles` the tokens of a subtitle begin with those of the ones before. A text is
`[SEP] question [SEP] answer`, or `[SEP] statement`. A moment is its first frame and the one after
its last.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx
from jax import export

from hero_jax.inference.exported import Exported
from hero_jax.models.heads import clip_scores
from hero_jax.models.params import unflatten
from hero_jax.tasks.captioning import generate_captions

PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIX = ".jaxexport"


def write(source: Exported, folder: Path) -> None:
    """Writes all functions that a model has, and a README, into a new folder."""
    folder.mkdir()
    weights = {
        path: jax.ShapeDtypeStruct(value.shape, value.dtype)
        for path, value in source.params.items()
    }
    for name, (function, shapes) in functions(source).items():
        exported = export.export(jax.jit(function), platforms=PLATFORMS)(weights, *shapes)
        (folder / f"{name}{SUFFIX}").write_bytes(exported.serialize())
    text = "# Compiled functions\n\n" + __doc__.replace("`hero_jax.inference.compiled`", "this")
    (folder / "README.md").write_text(text, encoding="utf-8")


def read(path):
    """A function of an export, to be called with weights and arrays."""
    return export.deserialize(bytearray(Path(path).read_bytes())).call


def functions(source: Exported) -> dict:
    """By name a function of weights and arrays, and the shapes of the arrays; see the top."""
    graphdef, abstract = source.abstract()
    found = {}

    def model(weights):
        params = jax.tree.map(lambda x: x, abstract)
        nnx.replace_by_pure_dict(params, unflatten(weights))
        return nnx.merge(graphdef, params)

    def add(name, function, shapes):
        # One number of each letter within a function.
        free = export.SymbolicScope()
        made = [
            jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=free), dtype)
            for shape, dtype in shapes
        ]
        found[name] = (lambda weights, *x: function(model(weights), *x), made)

    batch, size = source.batch(), source.description["model"]["hidden_size"]
    queries, frames = ("b, {H}", jnp.float32), ("{n}, {F}, {H}", jnp.float32)

    def shapes(*wanted, n="b", limits=batch):
        sizes = {"n": n, "H": size, "F": limits.max_frames}
        return [(shape.format(**sizes), dtype) for shape, dtype in wanted]

    clip = _clip_shapes(source, batch)
    layout = _Layout(source, batch)
    add("encode_clip", lambda m, *x: m.encode_clips(layout(*x))[:, 0].astype(jnp.float32), clip)
    words = batch.max_query_tokens
    add("encode_query", _encode_query(source), [(f"b, {words}", jnp.int32), ("b", jnp.int32)])
    own = shapes(queries, frames, ("{n}", jnp.int32), n="c")
    add("score", lambda m, q, f, n: clip_scores(q, f, _valid(f, n)), own)
    own = shapes(queries, frames, ("{n}", jnp.int32))
    add("spans", lambda m, q, f, n: m.span_head(q, f, _valid(f, n)), own)
    for task in source.tasks().values():
        if task.block in _FAMILIES:
            name, make = _FAMILIES[task.block]
            limits = source.batch(task.name)
            add(name, *make(task, _Layout(source, limits), _clip_shapes(source, limits), limits))
    return found


def _clip_shapes(source, limits):
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


def _valid(frames, num_frames):
    return jnp.arange(frames.shape[1]) < num_frames[:, None]


class _Layout:
    """Makes the model's batch of padded clips: every clip a group, every subtitle a row."""

    def __init__(self, source, limits):
        ids = source.features.special_ids
        self.pad = ids.pad
        self.first = ids.cls if limits.segmentation == "frames" else ids.sep

    def __call__(self, features, num_frames, token_ids, token_counts, frame_subtitle, texts=None):
        """A batch; texts: `[b, v, Q]` and their lengths `[b, v]`, which follow each subtitle."""
        clips, frames = frame_subtitle.shape
        there = jnp.arange(frames) < num_frames[:, None]
        under = jnp.where(there, frame_subtitle, -1)
        rows = token_ids.shape[1]
        mine = under[:, None] == jnp.arange(rows)[:, None]  # [b, s, F]
        before = jnp.cumsum(mine, axis=-1) - 1
        counts = mine.sum(-1)
        text, lengths = self._text(token_ids, token_counts)
        versions = 1
        if texts is not None:
            text, lengths, mine, before, counts = _with_texts(
                text, lengths, mine, before, counts, *texts
            )
            versions = texts[0].shape[1]
        slots = jnp.arange(frames + text.shape[-1])
        place = jnp.where(slots < frames, slots, slots - frames)
        is_text = (slots >= frames) & (place < lengths[..., None])
        is_frame = (slots < frames) & (slots < counts[..., None])
        padded = jnp.pad(text, [(0, 0), (0, 0), (frames, 0)], constant_values=self.pad)
        # Which frame is the k-th of a row: the one with k before it.
        order = jnp.argsort(jnp.where(mine, before, frames), axis=-1)
        order = jnp.pad(order, [(0, 0), (0, 0), (0, text.shape[-1])])
        version = jnp.repeat(jnp.arange(versions), rows)[:, None]
        # Of the frames of a clip's versions one after the other.
        frame_index = jnp.where(is_frame, order + version * frames, -1)
        slot = jnp.arange(versions * rows)[:, None] * slots.shape[0] + before
        slot = jnp.where(mine, slot, -1).reshape(clips, versions, rows, frames).max(2)
        return {
            "frame_features": features[:, None],
            "num_frames": num_frames[:, None],
            "token_ids": jnp.where(is_text, padded, self.pad),
            "position_ids": jnp.where(is_text | is_frame, place, 0),
            "segment_ids": (is_text | is_frame).astype(jnp.int32),
            "frame_index": frame_index,
            "frame_slot": slot,
        }

    def _text(self, token_ids, token_counts):
        text = jnp.pad(token_ids, [(0, 0), (0, 0), (1, 0)], constant_values=self.first)
        return text, token_counts + 1


def _with_texts(text, lengths, mine, before, counts, texts, text_counts):
    """Every row once with each text after its words, one text's rows after another's."""
    (clips, rows, _), versions = text.shape, texts.shape[1]

    def repeated(x):
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

    def flat(x):
        return x.reshape(clips, versions * rows, *x.shape[3:])

    return flat(text), flat(lengths), *(flat(repeated(x)) for x in (mine, before, counts))


def _encode_query(source):
    first = source.features.special_ids.cls

    def encode(model, token_ids, token_counts):
        words = jnp.pad(token_ids, [(0, 0), (1, 0)], constant_values=first)
        valid = jnp.arange(words.shape[1]) <= token_counts[:, None]
        rows = {
            "token_ids": words,
            "position_ids": jnp.where(valid, jnp.arange(words.shape[1]), 0),
            "segment_ids": valid.astype(jnp.int32),
            # Every query is a group with one row.
            "query_index": jnp.where(valid, 0, -1),
        }
        rows = {name: value[:, None] for name, value in rows.items()}
        rows["query_mask"] = jnp.ones((words.shape[0], 1), bool)
        return model.encode_queries(rows)[:, 0].astype(jnp.float32)

    return encode


def _choices(task, layout, clip, limits):
    """logits(model, clip's arrays, texts, text_counts), and the arrays' shapes."""

    def logits(model, *arrays):
        *arrays, texts, text_counts = arrays
        batch = layout(*arrays, (texts, text_counts))
        batch["text_token_ids"], batch["text_lengths"] = texts, text_counts
        batch["choice_mask"] = text_counts[:, None] > 0
        found = task.logits(model, batch, None)
        return jax.tree.map(lambda x: x[:, 0], found)

    text = (f"b, v, {limits.max_query_tokens + 2}", jnp.int32)
    return logits, [*clip, text, ("b, v", jnp.int32)]


def _captions(task, layout, clip, limits):
    def describe(model, *arrays):
        *arrays, moments = arrays
        batch = layout(*arrays)
        clips = moments.shape[0]
        batch |= {
            "caption_ranges": moments[:, None],
            "query_clip": jnp.zeros((clips, 1), jnp.int32),
            "query_mask": jnp.ones((clips, 1), bool),
            "query_numbers": jnp.arange(clips)[:, None],
        }
        head = model.heads[task.name]
        return generate_captions(model, head, batch, config=task.config, tokens=task.tokens)[:, 0]

    del limits
    return describe, [*clip, ("b, 2", jnp.int32)]


_FAMILIES = {
    "question_answering": ("answer", _choices),
    "inference": ("entails", _choices),
    "captioning": ("caption", _captions),
}
