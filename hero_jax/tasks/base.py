"""The interface of a task, through which training, evaluation, export and inference use it.

A new kind of task is a file beside this one, with a subclass of `Task` and its `TaskSettings`, and
an entry in `hero_jax.tasks.registry`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from data.errors import InputError
from data.pipeline.clips import Clips
from data.pipeline.layout import Layout
from data.pipeline.units import AnnotatedSplit
from data.schema import Query
from data.tokenizer import Tokenizer
from hero_jax.division import WHOLE, Shards
from hero_jax.models.batch import Batch
from hero_jax.models.hero import HERO
from hero_jax.tasks.work import Work

Loss = tuple[jax.Array, dict[str, jax.Array]]

# The slots that a head reads at once are a multiple of this.
CHUNK_MULTIPLE = 16
# If a head needs more slots than expected, it reads this share of the expected ones at once.
REST = 1 / 8


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Token ids that tasks read or write: special tokens, and the range of ordinary words."""

    cls: int
    pad: int
    sep: int
    mask: int
    first_word: int
    end_word: int


@dataclasses.dataclass(frozen=True)
class Context:
    """Inputs of a loss beside the model and the batch.

    Attributes:
      key: key of the random draws for clips; depends on the seed and the step.
      dropout_key: key of dropout, None outside of training.
      step: number of the step, int32 scalar.
      shards: those that the batch is divided into, of which a loss gets one.
    """

    key: jax.Array
    dropout_key: jax.Array | None
    step: jax.Array | int
    shards: Shards = WHOLE

    def mean(self, total: jax.Array, count: jax.Array) -> jax.Array:
        """Returns this shard's share of a mean over the batch, 0 if there is nothing to count.

        Args:
          total: sum over this shard.
          count: its number of terms.
        """
        return total / jnp.maximum(self.shards.sum(count), 1)


@dataclasses.dataclass(frozen=True)
class TaskSettings:
    """Settings of a task: its block of a config, checked when it is read.

    A task's own settings are fields of a subclass, with the published defaults; `__post_init__`
    checks their ranges with `require`.
    """

    @classmethod
    def read(cls, block: Mapping[str, Any], kind: str) -> Self:
        """Returns the settings in a block of a config or of an export.

        Args:
          block: values by name; settings that are missing have their defaults.
          kind: name of the task in the registry, for messages.

        Raises:
          InputError: a setting that the task does not have, or a value out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in block:
            if name not in known:
                raise InputError(
                    f"{kind}.{name} is not a setting of this task: it has "
                    f"{', '.join(known) or 'none'}"
                )
        try:
            return cls(**block)
        except InputError as error:
            raise InputError(f"{kind}.{error}") from error

    def require(self, name: str, good: bool, requirement: str) -> None:
        """Checks the value of a setting.

        Args:
          name: name of the setting.
          good: whether its value is allowed.
          requirement: the allowed values, as the end of "has to be ...".

        Raises:
          InputError: the value is not allowed.
        """
        if not good:
            raise InputError(f"{name}={getattr(self, name)!r} has to be {requirement}")

    def require_share(self, name: str) -> None:
        """Checks that a setting is from 0 to 1; raises an InputError otherwise."""
        self.require(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")


class Pass(NamedTuple):
    """A pass of evaluation over a split.

    Attributes:
      layout: layout of its batches.
      predict: returns the predictions on a batch, None for nothing.
    """

    layout: type[Layout]
    predict: Callable[[HERO, Batch], dict[str, jax.Array] | None]


class ExportedFunction(NamedTuple):
    """A task's function for programs that only have JAX; see `hero_jax.inference.compiled`.

    Attributes:
      name: name of the function and its file.
      usage: line of documentation about the arguments after those of the clip, and the results.
      arguments: shape and dtype of each argument after those of the clip; a size in lower case is
        free.
      texts: whether the first two of these arguments are texts and their lengths, which are read
        after each subtitle.
      call: function of the model, the batch of clips (each in its own group), and these arguments.
    """

    name: str
    usage: str
    arguments: Sequence[tuple[str, Any]]
    texts: bool
    call: Callable[..., Any]


class Task:
    """A task: its loss and metrics on a batch, and its predictions on a split.

    Metrics of a batch are float32 arrays `[2]` of a sum and a count, which add up over batches,
    hosts and devices; the value of a metric is the sum divided by the count.

    Attributes:
      Settings: class of its settings.
      layout: layout of the batches that it is trained on; in pre-training, clips with subtitles
        drawn as queries.
      query_type: type of the annotations that a downstream task reads, one of
        `data.schema.QUERY_TYPES`; '' in pre-training.
      query_metrics: name for the metrics of a pre-training task on a split's annotated queries; ''
        if it does not score them.
      temporal: whether it needs the temporal transformer.
      search_priority: the task of a run with the highest priority sets the limits and the ranking
        with which an export searches; 0 for tasks that do not search.
      trains_search: whether it trains the heads of queries and of spans, which search.
      name, kind, settings, tokens: as given.
    """

    Settings: ClassVar[type[TaskSettings]] = TaskSettings
    layout: type[Layout] = Clips
    query_type = ""
    query_metrics = ""
    temporal = False
    search_priority = 0
    trains_search = False
    settings: Any

    def __init__(self, settings: TaskSettings, tokens: Tokens, name: str = "", kind: str = ""):
        """Makes a task.

        Args:
          settings: its settings.
          tokens: token ids that it reads or writes.
          name: name of the task, and of its head in the model unless its settings name one.
          kind: name of its class in the registry, and of its block in a config.
        """
        self.name, self.kind = name, kind
        self.settings = settings
        self.tokens = tokens

    @property
    def downstream(self) -> bool:
        """True for a task that reads annotated queries, False in pre-training."""
        return bool(self.query_type)

    @property
    def head(self) -> str:
        """Name of its head in the model."""
        return getattr(self.settings, "head", "") or self.name

    @property
    def has_head(self) -> bool:
        """True for a task with parameters of its own."""
        return type(self).make_head is not Task.make_head

    def make_head(self, config: Config, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the task's own module, for `model.heads`, if it needs one.

        Args:
          config: the experiment's `model` block.
          rngs: random keys for its parameters.
        """
        raise NotImplementedError

    def check(self, batch: Config, shards: int) -> None:
        """Checks that the settings go with the batches; raises an InputError if not.

        Args:
          batch: the config's block.
          shards: number of devices that each batch is divided over.
        """

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        """Returns a shard's share of the mean loss of a batch, and its metrics.

        A batch may be divided among devices, and the loss is of one shard of its groups: the shares
        add up to the loss of the batch. `context.mean` divides by what the whole batch counts, and
        `context.shards` has what else is to be known of other shards.
        """
        raise NotImplementedError

    def products(self, work: Work) -> float:
        """Returns the multiplications of one forward pass over a batch."""
        raise NotImplementedError

    def evaluate(self, model: HERO, batch: Batch, context: Context) -> dict[str, jax.Array]:
        """Returns the metrics of a batch outside of training: those of the loss, or more."""
        return self.loss(model, batch, context)[1]

    @property
    def passes(self) -> Sequence[Pass]:
        """Passes of evaluation over a split; their predictions are joined for `summarize`."""
        return [Pass(self.layout, self.predict)]

    def predict(self, model: HERO, batch: Batch) -> dict[str, jax.Array] | None:
        """Returns the arrays `[G, ...]` of a batch that `summarize` reads; None for nothing."""
        del model, batch
        return None

    def complete(
        self, model: HERO, predictions: dict, split: AnnotatedSplit, mesh: jax.sharding.Mesh
    ) -> dict:
        """Completes the predictions of a whole split for `summarize` and `submission`.

        Args:
          model: the model, with its parameters on the devices of `mesh`.
          predictions: arrays `[batches · G, ...]` of all passes.
          split: the clips and queries.
          mesh: the devices.
        """
        del model, split, mesh
        return predictions

    def summarize(self, predictions: dict, split: AnnotatedSplit | None) -> dict[str, float | int]:
        """Returns metrics of a split: counts as int, all others as float.

        Args:
          predictions: arrays `[batches · G, ...]`, or what `complete` returned.
          split: the clips and queries; None in pre-training.
        """
        del predictions, split
        return {}

    def submission(self, predictions: dict, split: AnnotatedSplit) -> dict[str, str]:
        """Returns the text of each prediction file in the benchmark's format, by file name."""
        del predictions, split
        return {}

    def exported(self, limits: Config) -> ExportedFunction | None:
        """Returns the function that an export offers to other programs, None for none.

        Args:
          limits: limits of the batch; see `hero_jax.export.LIMITS`.
        """
        del limits
        return None

    def serve(self, model: HERO, batch: Batch) -> Any:
        """Returns what `respond` reads, for a batch of one clip with one query."""
        return self.predict(model, batch)

    def respond(
        self,
        outputs: Any,
        *,
        num_frames: int,
        seconds_per_feature: float,
        tokenizer: Tokenizer,
    ) -> Any:
        """Returns the reply to one query about one clip, for `hero_jax.inference`.

        Args:
          outputs: what `serve` returned, as NumPy arrays.
          num_frames: number of the clip's frames.
          seconds_per_feature: seconds between two frames.
          tokenizer: the model's tokenizer.
        """
        del num_frames, seconds_per_feature, tokenizer
        return outputs


def query_of(split: AnnotatedSplit | None, number: int) -> Query:
    """Returns the query of a record that has a prediction.

    Raises:
      ValueError: there is no such query, so the prediction is not of this split.
    """
    query = None if split is None else split.queries[number]
    if query is None:
        raise ValueError(f"record {number} has a prediction, and is not in the split")
    return query


def metric(total: jax.Array | float, count: jax.Array | float) -> jax.Array:
    """Returns a metric `[2]` float32 of a sum and a count."""
    return jnp.stack([jnp.asarray(total, jnp.float32), jnp.asarray(count, jnp.float32)])


def chunk_sizes(slots: int, share: float) -> tuple[int, int]:
    """Returns the number of slots that a head reads first, and the number that it then adds.

    Args:
      slots: of a group.
      share: of them that the head is expected to need.
    """
    first, rest = (
        max(math.ceil(slots * part / CHUNK_MULTIPLE), 1) * CHUNK_MULTIPLE
        for part in (share, share * REST)
    )
    return first, rest
