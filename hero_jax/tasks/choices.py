"""Texts judged with a clip: shared by question answering and inference."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from data.config import Config
from data.pipeline.choices import Choices
from data.schema import Query
from hero_jax.models.batch import Batch
from hero_jax.models.hero import HERO
from hero_jax.tasks.base import ExportedFunction, Task
from hero_jax.tasks.sharing import HeadSettings
from hero_jax.tasks.work import Work


class ChoiceTask(Task):
    """Base of tasks that read every frame of a clip once with each text."""

    Settings: ClassVar[type[HeadSettings]] = HeadSettings

    layout = Choices
    temporal = True

    def products(self, work: Work) -> float:
        """Returns the multiplications: every frame in each version, and the texts after them."""
        versions = work.counts["filled_slots"] - work.counts["tokens"]
        slots = versions - work.frames + work.texts
        return work.clips + slots * work.config.model.temporal_layers * work.layer

    def logits(self, model: HERO, batch: Batch, dropout_key: jax.Array | None) -> Any:
        """Returns logits of texts `[G, C, V]`, and whatever else the head says."""
        raise NotImplementedError

    def serve(self, model: HERO, batch: Batch) -> Any:
        """Returns `logits`."""
        return self.logits(model, batch, None)

    def exported_logits(self, name: str, usage: str, limits: Config) -> ExportedFunction:
        """Returns `logits` as a function of texts."""
        return ExportedFunction(
            name,
            usage,
            [(f"b, v, {limits.max_query_tokens + 2}", jnp.int32), ("b, v", jnp.int32)],
            True,
            lambda model, batch, texts, text_counts: self.logits(model, batch, None),
        )


def accuracies(correct: Mapping[int, bool], queries: Mapping[int, Query]) -> dict[str, float]:
    """Returns the accuracy of labelled queries, and of those of each kind if they have kinds.

    Args:
      correct: whether each was answered right, by the number of its record.
      queries: the labelled queries by the same numbers.
    """
    kinds = sorted({query.kind for query in queries.values()} - {""})
    of_kind = {
        f"accuracy_{kind}": [correct[n] for n in correct if queries[n].kind == kind]
        for kind in kinds
    }
    values = {"accuracy": list(correct.values()), **of_kind}
    return {name: float(np.mean(rights)) for name, rights in values.items()}
