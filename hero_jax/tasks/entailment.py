"""Video-and-language inference (VIOLIN): whether a statement about a clip is true."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.config import Config
from data.pipeline.units import AnnotatedSplit
from data.tokenizer import Tokenizer
from hero_jax.models.batch import Batch
from hero_jax.models.fusion import place_mask
from hero_jax.models.heads import ChoiceHead, QuestionHead
from hero_jax.models.hero import HERO
from hero_jax.tasks.base import Context, ExportedFunction, Loss, metric, query_of
from hero_jax.tasks.choices import ChoiceTask, accuracies


class Entailment(ChoiceTask):
    """Judges statements, by binary cross-entropy; those of a pair are read in one batch."""

    query_type = "statement"

    def make_head(self, config: Config, rngs: nnx.Rngs) -> nnx.Module:
        return (QuestionHead if self.settings.head else ChoiceHead)(config, rngs=rngs)

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        logits, labels = self.logits(model, batch, context.dropout_key), batch["labels"]
        known = labels >= 0
        # log(1 + exp(-x)) of the right sign is the cross-entropy of the sigmoid.
        losses = jax.nn.softplus(jnp.where(labels == 1, -logits, logits))
        total, count = jnp.sum(losses, where=known), jnp.sum(known, dtype=jnp.float32)
        right = jnp.sum((logits > 0) == (labels == 1), where=known)
        return context.mean(total, count), {
            "loss": metric(total, count),
            "accuracy": metric(right, count),
        }

    def logits(self, model: HERO, batch: Batch, dropout_key: jax.Array | None) -> jax.Array:
        """Returns logits of statements, `[G, C, V]`."""
        places = model.encode_with_texts(batch, key=dropout_key)
        valid = jnp.broadcast_to(place_mask(batch)[..., None, :], places.shape[:-1])
        head = model.heads[self.head]
        # A head that is shared with questions has another part for spans.
        return (head.answer if isinstance(head, QuestionHead) else head)(places, valid)

    def predict(self, model: HERO, batch: Batch) -> dict[str, jax.Array]:
        names = ("choice_mask", "query_numbers")
        return {
            "logits": self.logits(model, batch, None),
            **{name: batch[name] for name in names},
        }

    def summarize(self, predictions: dict, split: AnnotatedSplit | None) -> dict[str, float | int]:
        logits = _logits(predictions)
        queries = {n: query_of(split, n) for n in logits}
        labelled = {n: query for n, query in queries.items() if query.label >= 0}
        if not labelled:
            return {}
        correct = {n: (logits[n] > 0) == (query.label == 1) for n, query in labelled.items()}
        return {**accuracies(correct, labelled), "statements": len(labelled)}

    def submission(self, predictions: dict, split: AnnotatedSplit) -> dict[str, str]:
        """Returns 1 for true and 0 for false by the statement's id."""
        logits = _logits(predictions)
        labels = {query_of(split, n).query_id: int(logit > 0) for n, logit in logits.items()}
        return {"labels.json": json.dumps(labels, indent=0)}

    def exported(self, limits: Config) -> ExportedFunction:
        usage = "texts [b, v, Q + 2], text_counts [b, v] -> logits [b, v]"
        return self.exported_logits("entails", usage, limits)

    def respond(
        self, outputs: Any, *, num_frames: int, seconds_per_feature: float, tokenizer: Tokenizer
    ) -> float:
        """Returns the probability that the statement is true."""
        del num_frames, seconds_per_feature, tokenizer
        return float(1 / (1 + np.exp(-outputs[0, 0, 0])))


def _logits(predictions: dict) -> dict[int, float]:
    """Returns the logit of each statement by the number of its record."""
    asked = predictions["choice_mask"]
    numbers = predictions["query_numbers"][asked].tolist()
    return dict(zip(numbers, predictions["logits"][asked].tolist(), strict=True))
