"""Captioning: a sentence about a moment of a clip."""

import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.config import Config
from data.pipeline.captions import Captions
from data.pipeline.units import AnnotatedSplit
from data.schema import Query
from data.tokenizer import Tokenizer
from hero_jax.models.batch import Batch
from hero_jax.models.caption_decoder import CaptionDecoder
from hero_jax.models.hero import HERO
from hero_jax.models.ops import fold_in, take_slots
from hero_jax.tasks.base import (
    Context,
    ExportedFunction,
    Loss,
    Task,
    Tokens,
    metric,
    query_of,
)
from hero_jax.tasks.generating import CaptioningSettings, generate_captions, moment_frames
from hero_jax.tasks.losses import Sums, is_largest, smoothed, sum_over_selected
from hero_jax.tasks.work import Work

# Share of the targets that the head reads at once, for the memory that its logits take.
CHUNK_SHARE = 0.15
# Folded into the dropout key for the decoder; `encode_clips` and `encode_queries` fold in less.
DECODER_KEY = 5


class Captioning(Task):
    """Writes a moment's caption from its frames, with a decoder of its own (TVC).

    A batch has captions, or moments to be captioned, as

      query_clip         [G, N] int32      which of the group's C clips
      query_mask         [G, N] bool
      query_numbers      [G, N] int32      of the record
      caption_ranges     [G, N, 2] int32   the moment's first frame, and the one after its last
      caption_token_ids  [G, N, L] int32   words, without special tokens
      caption_lengths    [G, N] int32      number of words; 0 for captions that are not given
    """

    Settings = CaptioningSettings
    layout = Captions
    query_type = "caption"

    def make_head(self, config: Config, rngs: nnx.Rngs) -> nnx.Module:
        return CaptionDecoder(
            config,
            layers=self.settings.decoder_layers,
            positions=self.settings.decoder_positions,
            rngs=rngs,
        )

    def products(self, work: Work) -> float:
        # A decoder's layer has a second attention.
        decoder = self.settings.decoder_layers * (work.layer + 4 * work.size * work.size)
        words = work.size * (work.size + work.config.model.vocab_size)
        return work.clips + work.texts * (decoder + words)

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        inputs, targets = shifted(batch, self.tokens)
        key = context.dropout_key
        hidden = decode(model, self.decoder(model), batch, inputs, key)
        sums = caption_loss(model, hidden, targets, smoothing=self.settings.label_smoothing)
        return context.mean(sums["loss"], sums["count"]), {
            "loss": metric(sums["loss"], sums["count"]),
            "accuracy": metric(sums["correct"], sums["count"]),
        }

    def decoder(self, model: HERO) -> CaptionDecoder:
        """Returns the task's head."""
        decoder = model.heads[self.head]
        assert isinstance(decoder, CaptionDecoder)
        return decoder

    def predict(self, model: HERO, batch: Batch) -> dict[str, jax.Array]:
        return {
            "tokens": self.serve(model, batch),
            "query_numbers": batch["query_numbers"],
            "query_mask": batch["query_mask"],
        }

    def summarize(self, predictions: dict, split: AnnotatedSplit | None) -> dict[str, float | int]:
        assert split is not None
        captions = written(predictions, split, end=self.tokens.sep)
        references: dict[str | int, list[str]] = {}
        for number, query in enumerate(split.queries):
            if query is not None and query.text:
                references.setdefault(_moment(number, query), []).append(query.text)
        references = {moment: references[moment] for moment in captions if moment in references}
        if not references:
            return {}
        hypotheses = {moment: captions[moment][1] for moment in references}
        # Imported here, because generating captions does not need the metrics' packages.
        from hero_jax.metrics.captions import score

        scores = score(references, hypotheses)
        return {**scores, "moments": len(references)}

    def submission(self, predictions: dict, split: AnnotatedSplit) -> dict[str, str]:
        """Returns TVC's form: a JSON line for each moment; `ts` is null for a whole clip."""
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

    def exported(self, limits: Config) -> ExportedFunction:
        del limits
        usage = "moments [b, 2] -> token ids [b, steps]"
        return ExportedFunction(
            "caption", usage, [("b, 2", jnp.int32)], False, self._caption_moments
        )

    def _caption_moments(self, model: HERO, batch: Batch, moments: jax.Array) -> jax.Array:
        clips = moments.shape[0]
        batch = {
            **batch,
            "caption_ranges": moments[:, None],
            "query_clip": jnp.zeros((clips, 1), jnp.int32),
            "query_mask": jnp.ones((clips, 1), bool),
            "query_numbers": jnp.arange(clips)[:, None],
        }
        return self.serve(model, batch)

    def serve(self, model: HERO, batch: Batch) -> jax.Array:
        return generate_captions(
            model, self.decoder(model), batch, settings=self.settings, tokens=self.tokens
        )

    def respond(
        self, outputs: Any, *, num_frames: int, seconds_per_feature: float, tokenizer: Tokenizer
    ) -> str:
        """Returns the caption."""
        del num_frames, seconds_per_feature
        return decoded(outputs[0, 0].tolist(), tokenizer, end=self.tokens.sep)


def decoded(ids: list[int], tokenizer: Tokenizer, *, end: int) -> str:
    """Returns the text of generated tokens up to their end."""
    return tokenizer.decode(ids[: ids.index(end)] if end in ids else ids).strip()


def shifted(batch: Batch, tokens: Tokens) -> tuple[jax.Array, jax.Array]:
    """Returns the decoder's inputs and targets.

    Returns:
      inputs `[G, N, L + 1]`: the start (CLS) and the words; targets `[G, N, L + 1]`: the words and
      the end (SEP), -1 beyond it and where there is no caption.
    """
    words, lengths = batch["caption_token_ids"], batch["caption_lengths"][..., None]
    edge = [(0, 0)] * (words.ndim - 1)
    inputs = jnp.pad(words, [*edge, (1, 0)], constant_values=tokens.cls)
    place = jnp.arange(inputs.shape[-1])
    targets = jnp.where(place < lengths, jnp.pad(words, [*edge, (0, 1)]), tokens.sep)
    is_target = batch["query_mask"][..., None] & (lengths > 0) & (place <= lengths)
    return inputs, jnp.where(is_target, targets, -1)


def decode(
    model: HERO,
    decoder: CaptionDecoder,
    batch: Batch,
    inputs: jax.Array,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """Returns decoder outputs `[G, N, L + 1, H]` of captions that are given."""
    frames, frame_mask = moment_frames(model, decoder, batch, dropout_key)
    words = model.cross_modal.text_embedding.word[...][inputs]
    return decoder(words, frames, frame_mask, fold_in(dropout_key, DECODER_KEY))


def caption_loss(
    model: HERO, hidden: jax.Array, targets: jax.Array, *, smoothing: float
) -> dict[str, jax.Array]:
    """Returns sums over targets `[G, N, L]` that are not -1, of outputs `[G, N, L, H]`."""
    groups = targets.shape[0]
    hidden = hidden.reshape(groups, -1, hidden.shape[-1])
    targets = targets.reshape(groups, -1)

    def chunk(index: jax.Array, valid: jax.Array) -> Sums:
        logits = model.word_logits(take_slots(hidden, index))
        labels = take_slots(targets, index)
        losses = smoothed(logits, jnp.where(valid, labels, 0), smoothing)
        return {
            "loss": jnp.sum(losses, where=valid),
            "correct": jnp.sum(is_largest(logits, labels), where=valid, dtype=jnp.float32),
            "count": jnp.sum(valid, dtype=jnp.float32),
        }

    size = math.ceil(CHUNK_SHARE * targets.shape[1])
    return sum_over_selected(chunk, targets >= 0, (size, size))


def written(
    predictions: dict, split: AnnotatedSplit, *, end: int
) -> dict[str | int, tuple[Query, str]]:
    """Returns each moment's first record and its generated caption, in the records' order.

    Args:
      end: the token where a text ends.

    Returns:
      dict by moment; see `_moment`.
    """
    mask = predictions["query_mask"]
    numbers, tokens = predictions["query_numbers"][mask], predictions["tokens"][mask]
    captions: dict[str | int, tuple[Query, str]] = {}
    for place in np.argsort(numbers, kind="stable"):
        number = int(numbers[place])
        query = query_of(split, number)
        text = decoded(tokens[place].tolist(), split.tokenizer, end=end)
        captions.setdefault(_moment(number, query), (query, text))
    return captions


def _moment(number: int, query: Query) -> str | int:
    """Returns what the captions of a moment share: their group, or the record if it has none."""
    return query.group or number
