"""Masked language modelling: words from the words around them and the frames under them."""

import dataclasses

import jax
import jax.numpy as jnp

from hero_jax.models.batch import Batch
from hero_jax.models.hero import HERO
from hero_jax.models.ops import take_slots
from hero_jax.tasks import masking
from hero_jax.tasks.base import Context, Loss, Task, TaskSettings, chunk_sizes, metric
from hero_jax.tasks.losses import Sums, cross_entropy, sum_over_selected
from hero_jax.tasks.work import Work

# Share of packed slots that have a word, in television's clips: the others have frames or nothing.
WORDS = 0.9


@dataclasses.dataclass(frozen=True)
class MaskedLanguageModellingSettings(TaskSettings):
    """Settings of masked language modelling.

    Attributes:
      mask_probability: share of words that are predicted.
    """

    mask_probability: float = 0.15

    def __post_init__(self):
        self.require_share("mask_probability")


class MaskedLanguageModelling(Task):
    """Predicts masked words of subtitles (MLM)."""

    Settings = MaskedLanguageModellingSettings

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        input_ids, labels = masking.mask_words(
            batch, context.key, probability=self.settings.mask_probability, tokens=self.tokens
        )
        rows = model.encode_rows({**batch, "token_ids": input_ids}, key=context.dropout_key)
        sums = word_loss(model, rows, labels, WORDS * self.settings.mask_probability)
        return context.mean(sums["loss"], sums["count"]), {
            "loss": metric(sums["loss"], sums["count"]),
            "accuracy": metric(sums["correct"], sums["count"]),
        }

    def products(self, work: Work) -> float:
        masked = work.words * self.settings.mask_probability
        return work.rows + masked * work.size * (work.size + work.config.model.vocab_size)

    def evaluate(self, model: HERO, batch: Batch, context: Context) -> dict[str, jax.Array]:
        blank = {**batch, "frame_features": jnp.zeros_like(batch["frame_features"])}
        without_frames = self.loss(model, blank, context)[1]["accuracy"]
        metrics = self.loss(model, batch, context)[1]
        return {**metrics, "accuracy_without_frames": without_frames}


def word_loss(
    model: HERO, rows: jax.Array, labels: jax.Array, share: float
) -> dict[str, jax.Array]:
    """Returns cross-entropy sums of rows `[G, R, T, H]` where labels `[G, R, T]` are not -1.

    Args:
      share: of the slots that are expected to have a label.
    """
    groups = rows.shape[0]
    rows = rows.reshape(groups, -1, rows.shape[-1])
    labels = labels.reshape(groups, -1)

    def chunk(index: jax.Array, valid: jax.Array) -> Sums:
        logits = model.word_logits(take_slots(rows, index), padded=True)
        return cross_entropy(logits, take_slots(labels, index), valid)

    return sum_over_selected(chunk, labels >= 0, chunk_sizes(labels.shape[1], share))
