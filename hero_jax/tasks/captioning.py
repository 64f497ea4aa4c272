"""Captioning: a sentence about a moment of a clip."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np

from data.errors import InputError
from hero_jax.models import decoding
from hero_jax.models.caption_decoder import CaptionDecoder
from hero_jax.models.ops import fold_in, take_slots
from hero_jax.tasks.base import Task, chunk_size, metric
from hero_jax.tasks.losses import mean, smoothed, sum_over_selected

DECODINGS = ("greedy", "beam", "sample")
# What is sampled is drawn from this and the number of the caption's record.
SAMPLING_SEED = 0
# `encode_clips` and `encode_queries` fold the numbers below into the dropout key.
DECODER_KEY = 5


class Captioning(Task):
    """Words of a moment's caption from its frames, with a decoder of the task's own.

    A batch has captions, or moments to be captioned, as

      query_clip         [G, N] int32      which of the group's C clips
      query_mask         [G, N] bool
      query_numbers      [G, N] int32      of the record
      caption_ranges     [G, N, 2] int32   the moment's first frame, and the one after its last
      caption_token_ids  [G, N, L] int32   words, without special tokens
      caption_lengths    [G, N] int32      how many; 0 where the caption is kept back

    config: `label_smoothing`, `max_steps` (tokens to generate), `decoding` ('greedy', 'beam' or
    'sample'), `beam_width` and `length_penalty`, `temperature` and `top_p`, `decoder_layers`,
    `decoder_positions`.
    """

    layout = "captions"
    query_type = "caption"
    passes = types.MappingProxyType({"captions": "predict"})
    has_head = True

    def make_head(self, config, rngs):
        check(self.config)
        return CaptionDecoder(
            config,
            layers=self.config.decoder_layers,
            positions=self.config.decoder_positions,
            rngs=rngs,
        )

    def loss(self, model, batch, context):
        inputs, targets = shifted(batch, self.tokens)
        key = context.dropout_key
        hidden = decode(model, model.heads[self.name], batch, inputs, key)
        sums = caption_loss(model, hidden, targets, smoothing=self.config.label_smoothing)
        return mean(sums["loss"], sums["count"]), {
            "loss": metric(sums["loss"], sums["count"]),
            "accuracy": metric(sums["correct"], sums["count"]),
        }

    def predict(self, model, batch):
        tokens = generate_captions(
            model, model.heads[self.name], batch, config=self.config, tokens=self.tokens
        )
        return {
            "tokens": tokens,
            "query_numbers": batch["query_numbers"],
            "query_mask": batch["query_mask"],
        }

    def summarize(self, predictions, split):
        captions = written(predictions, split, end=self.tokens.sep)
        references = {}
        for number, query in enumerate(split.queries):
            if query is not None and query.text:
                references.setdefault(_moment(number, query), []).append(query.text)
        references = {moment: references[moment] for moment in captions if moment in references}
        if not references:
            return {}
        hypotheses = {moment: captions[moment][1] for moment in references}
        # Here, for who only has captions written needs no metrics of them.
        from hero_jax.metrics.captions import score

        scores = score(references, hypotheses)
        return {**scores, "moments": float(len(references))}

    def submission(self, predictions, split):
        """TVC's: a JSON line for each moment; `ts` is null where it is the whole clip."""
        lines = []
        for query, text in written(predictions, split, end=self.tokens.sep).values():
            name = query.group or query.query_id
            line = {
                "vid_name": query.clip_id,
                "clip_id": int(name) if name.isdecimal() else name,
                "ts": query.moment,
                "descs": [{"desc": text}],
            }
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        return {"captions.jsonl": "".join(lines)}


def check(config):
    """Raises InputError if the task's block asks for what cannot be."""
    for name, good, what in (
        ("label_smoothing", 0 <= config.label_smoothing < 1, "0 or more and below 1"),
        ("max_steps", config.max_steps >= 1, "1 or more"),
        ("max_steps", config.max_steps <= config.decoder_positions, "at most decoder_positions"),
        ("decoding", config.decoding in DECODINGS, f"one of {', '.join(DECODINGS)}"),
        ("beam_width", config.beam_width >= 1, "1 or more"),
        ("temperature", config.temperature > 0, "above 0; decoding='greedy' draws nothing"),
        ("top_p", 0 < config.top_p <= 1, "above 0 and at most 1"),
    ):
        if not good:
            raise InputError(f"{name}={config[name]} of captioning: it has to be {what}.")


def shifted(batch, tokens):
    """What the decoder reads and what it should answer.

    Returns:
      inputs `[G, N, L + 1]`: the start (CLS) and the words; targets `[G, N, L + 1]`: the words and
      the end (SEP), -1 beyond it and where there is no caption.
    """
    words, lengths = batch["caption_token_ids"], batch["caption_lengths"][..., None]
    edge = [(0, 0)] * (words.ndim - 1)
    inputs = jnp.pad(words, [*edge, (1, 0)], constant_values=tokens.cls)
    place = jnp.arange(inputs.shape[-1])
    targets = jnp.where(place < lengths, jnp.pad(words, [*edge, (0, 1)]), tokens.sep)
    there = batch["query_mask"][..., None] & (lengths > 0) & (place <= lengths)
    return inputs, jnp.where(there, targets, -1)


def decode(model, decoder, batch, inputs, dropout_key):
    """Decoder outputs `[G, N, L + 1, H]` of captions that are known."""
    frames, frame_mask = moment_frames(model, decoder, batch, dropout_key)
    words = model.cross_modal.text_embedding.word[...][inputs]
    return decoder(words, frames, frame_mask, fold_in(dropout_key, DECODER_KEY))


def moment_frames(model, decoder, batch, dropout_key):
    """What the decoder reads for each caption.

    Returns:
      For each layer keys and values of the caption's clip, `[G, N, heads, F, H / heads]`, and a
      mask `[G, N, F]`, True at the frames of its moment.
    """
    clips = decoder.project(model.encode_clips(batch, key=dropout_key))
    frames = jax.tree.map(lambda x: take_slots(x, batch["query_clip"]), clips)
    place = jnp.arange(batch["frame_slot"].shape[-1])
    ranges = batch["caption_ranges"]
    frame_mask = (ranges[..., :1] <= place) & (place < ranges[..., 1:])
    return frames, frame_mask & batch["query_mask"][..., None]


def caption_loss(model, hidden, targets, *, smoothing):
    """Sums over targets `[G, N, L]` that are not -1, of outputs `[G, N, L, H]`."""
    groups = targets.shape[0]
    hidden = hidden.reshape(groups, -1, hidden.shape[-1])
    targets = targets.reshape(groups, -1)

    def chunk(index, valid):
        logits = model.word_logits(take_slots(hidden, index))
        labels = take_slots(targets, index)
        losses = smoothed(logits, jnp.where(valid, labels, 0), smoothing)
        return {
            "loss": jnp.sum(losses, where=valid),
            "correct": jnp.sum(jnp.argmax(logits, -1) == labels, where=valid, dtype=jnp.float32),
            "count": jnp.sum(valid, dtype=jnp.float32),
        }

    return sum_over_selected(chunk, targets >= 0, chunk_size(targets.shape[1]))


def generate_captions(model, decoder, batch, *, config, tokens):
    """Captions `[G, N, max_steps]` int32 of a batch's moments: words, SEP, padding."""
    groups, count = batch["query_mask"].shape
    frames, frame_mask = moment_frames(model, decoder, batch, None)
    frames, frame_mask, wanted, numbers = jax.tree.map(
        lambda x: x.reshape(groups * count, *x.shape[2:]),
        (frames, frame_mask, batch["query_mask"], batch["query_numbers"]),
    )

    def step(words, position, kept):
        words = model.cross_modal.text_embedding.word[...][words]
        x, kept = decoder.step(words, position, kept, frames, frame_mask)
        return model.word_logits(x), kept

    limits = decoding.Limits(tokens.cls, tokens.sep, tokens.pad, config.max_steps)
    width = config.beam_width if config.decoding == "beam" else 1
    cache = decoder.init_cache((groups * count, width), config.max_steps)
    if config.decoding == "beam":
        result, _ = decoding.beam(
            step, cache, wanted, limits, width=width, length_penalty=config.length_penalty
        )
    elif config.decoding == "sample":
        seed = jax.random.key(SAMPLING_SEED)
        result = decoding.sample(
            step,
            cache,
            wanted,
            limits,
            keys=jax.vmap(jax.random.fold_in, (None, 0))(seed, numbers),
            temperature=config.temperature,
            top_p=config.top_p,
        )
    else:
        result = decoding.greedy(step, cache, wanted, limits)
    return result.reshape(groups, count, -1)


def written(predictions, split, *, end):
    """For each moment its first record and the text written about it, in the records' order.

    Args:
      end: the token where a text ends.

    Returns:
      dict from moment (see `_moment`) to `(data.schema.Query, str)`.
    """
    mask = predictions["query_mask"]
    numbers, tokens = predictions["query_numbers"][mask], predictions["tokens"][mask]
    captions = {}
    for place in np.argsort(numbers, kind="stable"):
        number, ids = int(numbers[place]), tokens[place].tolist()
        query = split.queries[number]
        text = split.tokenizer.decode(ids[: ids.index(end)] if end in ids else ids)
        captions.setdefault(_moment(number, query), (query, text.strip()))
    return captions


def _moment(number, query):
    """The same for the captions of one moment: their group, or for want of one the record."""
    return query.group or number
