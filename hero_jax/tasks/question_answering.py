"""Questions about a clip (TVQA, How2QA), or what follows (VLEP): the answer, and its moment."""

import dataclasses
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.config import Config
from data.pipeline.units import AnnotatedSplit
from data.tokenizer import Tokenizer
from hero_jax.models.batch import Batch
from hero_jax.models.fusion import place_mask
from hero_jax.models.heads import QuestionHead
from hero_jax.models.hero import HERO
from hero_jax.tasks.base import (
    Context,
    ExportedFunction,
    Loss,
    metric,
    query_of,
)
from hero_jax.tasks.choices import ChoiceTask, accuracies
from hero_jax.tasks.losses import cross_entropy
from hero_jax.tasks.sharing import HeadSettings


class Answer(NamedTuple):
    """The reply to a question.

    Attributes:
      probabilities: of each answer.
      best: number of the likeliest answer.
      moment: where it is shown, first and last second of the clip.
    """

    probabilities: tuple[float, ...]
    best: int
    moment: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class QuestionAnsweringSettings(HeadSettings):
    """Settings of question answering; see `HeadSettings`.

    Attributes:
      span_weight: of the loss of the moment's first and last frame.
    """

    span_weight: float = 0.4


class QuestionAnswering(ChoiceTask):
    """Chooses among the answers of a question, and finds the moment that shows the right one."""

    Settings = QuestionAnsweringSettings
    query_type = "question"

    def make_head(self, config: Config, rngs: nnx.Rngs) -> nnx.Module:
        return QuestionHead(config, rngs=rngs)

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        logits, start_logits, end_logits = self.logits(model, batch, context.dropout_key)
        labels = batch["labels"]
        answer = cross_entropy(logits, jnp.argmax(labels, axis=-1), jnp.any(labels == 1, axis=-1))
        spans, known = batch["query_spans"], batch["span_mask"]
        start = cross_entropy(start_logits, spans[..., 0], known)
        end = cross_entropy(end_logits, spans[..., 1], known)
        answer_loss = context.mean(answer["loss"], answer["count"])
        span_loss = context.mean(start["loss"] + end["loss"], 2 * start["count"])
        total = answer_loss + self.settings.span_weight * span_loss
        return total, {
            "loss": metric(total, context.shards.is_first),
            "answer_loss": metric(answer["loss"], answer["count"]),
            "span_loss": metric(start["loss"] + end["loss"], 2 * start["count"]),
            "accuracy": metric(answer["correct"], answer["count"]),
        }

    def logits(
        self, model: HERO, batch: Batch, dropout_key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns logits of answers `[G, C, V]`, of start and of end `[G, C, F]`.

        A sequence has those of all places, `[G, C, F + S]`.
        """
        places = model.encode_with_texts(batch, key=dropout_key)
        return model.heads[self.head](places, place_mask(batch), batch["choice_mask"])

    def predict(self, model: HERO, batch: Batch) -> dict[str, jax.Array]:
        logits, start, end = self.logits(model, batch, None)
        names = ("choice_mask", "query_numbers")
        return {
            "logits": logits,
            "start": jnp.argmax(start, axis=-1),
            "end": jnp.argmax(end, axis=-1),
            **{name: batch[name] for name in names},
        }

    def summarize(self, predictions: dict, split: AnnotatedSplit | None) -> dict[str, float | int]:
        chosen = _answers(predictions)
        queries = {n: query_of(split, n) for n in chosen}
        labelled = {n: query for n, query in queries.items() if query.label >= 0}
        if not labelled:
            return {}
        correct = {n: chosen[n] == query.label for n, query in labelled.items()}
        chance = [1 / len(query.answers) for query in labelled.values()]
        return {
            **accuracies(correct, labelled),
            "chance_accuracy": float(np.mean(chance)),
            "questions": len(labelled),
        }

    def submission(self, predictions: dict, split: AnnotatedSplit) -> dict[str, str]:
        """Returns TVQA's form: the number of the answer by the question's id."""
        chosen = _answers(predictions)
        answers = {query_of(split, n).query_id: label for n, label in chosen.items()}
        return {"answers.json": json.dumps(answers, indent=0)}

    def exported(self, limits: Config) -> ExportedFunction:
        results = "logits [b, v], start and end logits [b, F]"
        return self.exported_logits(
            "answer", f"texts [b, v, Q + 2], text_counts [b, v] -> {results}", limits
        )

    def respond(
        self, outputs: Any, *, num_frames: int, seconds_per_feature: float, tokenizer: Tokenizer
    ) -> Answer:
        """Returns the `Answer`."""
        del tokenizer
        logits, start, end = (x[0, 0] for x in outputs)
        weights = np.exp(logits - logits.max())
        # The likeliest pair of a first and a last frame.
        pairs = start[:num_frames, None] + end[:num_frames]
        pairs = np.where(np.tri(num_frames, dtype=bool).T, pairs, -np.inf)
        first, last = np.unravel_index(pairs.argmax(), pairs.shape)
        return Answer(
            tuple((weights / weights.sum()).tolist()),
            int(logits.argmax()),
            (float(first * seconds_per_feature), float((last + 1) * seconds_per_feature)),
        )


def _answers(predictions: dict) -> dict[int, int]:
    """Returns the number of the chosen answer by that of the question's record."""
    asked = predictions["choice_mask"].any(-1)
    numbers = predictions["query_numbers"][asked][:, 0].tolist()
    return dict(zip(numbers, predictions["logits"][asked].argmax(-1).tolist(), strict=True))
