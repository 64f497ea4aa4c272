"""Multiple-choice questions about a clip (TVQA, How2QA): which answer, and where it is shown."""

import json
import types

import jax.numpy as jnp
import numpy as np

from hero_jax.models.batch import frame_mask
from hero_jax.models.heads import QuestionHead
from hero_jax.tasks.base import Task, metric
from hero_jax.tasks.losses import cross_entropy, mean


class QuestionAnswering(Task):
    """config: `span_weight`, of the loss of the moment's first and last frame."""

    layout = "choices"
    query_type = "question"
    passes = types.MappingProxyType({"choices": "predict"})
    has_head = True
    temporal = True

    def make_head(self, config, rngs):
        return QuestionHead(config, rngs=rngs)

    def loss(self, model, batch, context):
        logits, start, end = self.logits(model, batch, context.dropout_key)
        labels = batch["labels"]
        answer = cross_entropy(logits, jnp.argmax(labels, axis=-1), jnp.any(labels == 1, axis=-1))
        spans, known = batch["query_spans"], batch["span_mask"]
        start = cross_entropy(start, spans[..., 0], known)
        end = cross_entropy(end, spans[..., 1], known)
        answer_loss = mean(answer["loss"], answer["count"])
        span_loss = mean(start["loss"] + end["loss"], 2 * start["count"])
        total = answer_loss + self.config.span_weight * span_loss
        return total, {
            "loss": metric(total, 1),
            "answer_loss": metric(answer["loss"], answer["count"]),
            "span_loss": metric(start["loss"] + end["loss"], 2 * start["count"]),
            "accuracy": metric(answer["correct"], answer["count"]),
        }

    def logits(self, model, batch, dropout_key):
        """Of answers `[G, C, V]`, of start and end `[G, C, F]`."""
        frames = model.encode_with_texts(batch, key=dropout_key)
        return model.heads[self.name](frames, frame_mask(batch), batch["choice_mask"])

    def predict(self, model, batch):
        logits, start, end = self.logits(model, batch, None)
        names = ("choice_mask", "query_numbers")
        return {
            "logits": logits,
            "start": jnp.argmax(start, axis=-1),
            "end": jnp.argmax(end, axis=-1),
            **{name: batch[name] for name in names},
        }

    def summarize(self, predictions, split):
        chosen = _answers(predictions)
        labelled = {n: split.queries[n] for n in chosen if split.queries[n].label >= 0}
        if not labelled:
            return {}
        kinds = sorted({query.kind for query in labelled.values()} - {""})
        right = {n: chosen[n] == query.label for n, query in labelled.items()}
        return {
            "accuracy": np.mean(list(right.values())),
            "chance_accuracy": np.mean([1 / len(query.answers) for query in labelled.values()]),
            "questions": len(labelled),
            **{
                f"accuracy_{kind}": np.mean([right[n] for n in right if labelled[n].kind == kind])
                for kind in kinds
            },
        }

    def submission(self, predictions, split):
        """TVQA's: the number of the answer by the question's id."""
        answers = {split.queries[n].query_id: label for n, label in _answers(predictions).items()}
        return {"answers.json": json.dumps(answers, indent=0)}


def _answers(predictions) -> dict[int, int]:
    """The number of the chosen answer by that of the question's record."""
    asked = predictions["choice_mask"].any(-1)
    numbers = predictions["query_numbers"][asked][:, 0].tolist()
    return dict(zip(numbers, predictions["logits"][asked].argmax(-1).tolist(), strict=True))
