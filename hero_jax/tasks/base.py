"""What a task is to the training and the evaluation loop."""

import dataclasses
import types
from collections.abc import Mapping

import jax
import jax.numpy as jnp

# A chunk of slots on which a head runs at once: at least this many, and about one in sixteen.
MIN_CHUNK = 128
CHUNKS = 16


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The token ids a model has to know: the special ones, and the range of ordinary words."""

    cls: int
    pad: int
    sep: int
    mask: int
    first_word: int
    end_word: int


@dataclasses.dataclass(frozen=True)
class Context:
    """What a loss depends on besides the model and the batch.

    key: what is drawn for clips comes from it; a function of seed and step.
    dropout_key: None outside of training.
    step: int32 scalar.
    """

    key: jax.Array
    dropout_key: jax.Array | None
    step: jax.Array | int


class Task:
    """A task: its loss and metrics on a batch, and, where it has one, its prediction on a split.

    Metrics are float32 arrays `[2]` of a sum and a count, so that they add up over batches, hosts
    and devices, and their value is always a mean over what was counted.

    Attributes:
      layout: what is packed for training: 'clips', with drawn subtitles for queries (pre-training),
        or what a downstream task reads: 'retrieval', 'choices', 'captions'.
      query_type: of the datasets that a downstream task is for, of `data.schema.QUERY_TYPES`.
      passes: of evaluation: by the layout of the batches the method that predicts on them.
      has_head: whether it has parameters of its own, from `make_head`.
      temporal: whether it cannot do without the temporal transformer.
      name, block, config, tokens: as given.
    """

    layout = "clips"
    query_type = ""
    passes: Mapping[str, str] = types.MappingProxyType({"clips": "predict"})
    has_head = False
    temporal = False

    def __init__(self, config, tokens: Tokens, name: str = "", block: str = ""):
        """Makes a task.

        Args:
          config: the task's own block of the experiment's config.
          name: of the task, and of its head in the model; block: of that block.
        """
        self.name, self.block = name, block
        self.config = config
        self.tokens = tokens

    def make_head(self, config, rngs):
        """The task's own parameters, for `model.heads`.

        Args:
          config: the model's.
        """
        raise NotImplementedError

    def loss(self, model, batch, context: Context) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean loss of a batch, and its metrics."""
        raise NotImplementedError

    def evaluate(self, model, batch, context: Context) -> dict[str, jax.Array]:
        """The metrics of a batch outside of training; those of the loss, unless there are more."""
        return self.loss(model, batch, context)[1]

    def predict(self, model, batch) -> dict[str, jax.Array] | None:
        """What `summarize` wants of a batch, leading axes [G, ...]; None if it wants nothing."""
        del model, batch
        return None

    def complete(self, model, predictions, split, mesh) -> dict:
        """Predictions of a whole split, concatenated over batches, made ready for what follows.

        Args:
          model: with its parameters on the devices of `mesh`.
          split: as in `summarize`.
        """
        del model, split, mesh
        return predictions

    def summarize(self, predictions, split) -> dict[str, float]:
        """Metrics of a split from its predictions.

        Args:
          predictions: arrays `[batches · G, ...]`.
          split: `data.pipeline.units.AnnotatedSplit`; None in pre-training.
        """
        del predictions, split
        return {}

    def submission(self, predictions, split) -> dict[str, str]:
        """Prediction files of a split in the benchmark's format: text by file name."""
        del predictions, split
        return {}


def metric(total, count) -> jax.Array:
    """One metric as a sum and a count."""
    return jnp.stack([jnp.asarray(total, jnp.float32), jnp.asarray(count, jnp.float32)])


def chunk_size(slots: int) -> int:
    """Slots of a group on which a head should run at once."""
    return max(MIN_CHUNK, -(-slots // CHUNKS))
