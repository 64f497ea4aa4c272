"""The interface of a task: all that training, evaluation, export and inference know of one.

A new kind of task is a file beside this one, with a subclass of `Task` and its `TaskSettings`, and
an entry in `hero_jax.tasks.registry`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from data.errors import InputError
from data.pipeline.clips import Clips
from data.pipeline.layout import Layout
from hero_jax.models.batch import Batch
from hero_jax.models.hero import HERO

if TYPE_CHECKING:
    from data.pipeline.units import AnnotatedSplit
    from data.tokenizer import Tokenizer

Loss = tuple[jax.Array, dict[str, jax.Array]]

# Slots in the chunk that a head reads at once: at least so many, and about one in sixteen.
MIN_CHUNK = 128
CHUNKS = 16


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Token ids a model has to know: the special ones, and the range of ordinary words."""

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
      key: source of what is drawn for clips; a function of seed and step.
      dropout_key: None outside of training.
      step: int32 scalar.
    """

    key: jax.Array
    dropout_key: jax.Array | None
    step: jax.Array | int


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
          block: values by name; those that are missing have their defaults.
          kind: the task's name in the registry, for messages.

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
        """Raises an InputError that names a setting unless its value is good.

        Args:
          requirement: the end of "has to be ...".
        """
        if not good:
            raise InputError(f"{name}={getattr(self, name)!r} has to be {requirement}")

    def require_share(self, name: str) -> None:
        """Raises an InputError unless a setting is from 0 to 1."""
        self.require(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")


class Pass(NamedTuple):
    """A pass of evaluation over a split: the layout of its batches, and what predicts on one."""

    layout: type[Layout]
    predict: Callable[[HERO, Batch], dict[str, jax.Array] | None]


class ExportedFunction(NamedTuple):
    """A task's function for programs that have JAX alone; see `hero_jax.inference.compiled`.

    Attributes:
      name: of the function and its file.
      usage: its line of documentation: the arguments after the clip's, and the results.
      arguments: shape and dtype of the arrays after the clip's; sizes in small letters are free.
      texts: whether the first two of them are texts and their lengths, read after each subtitle.
      call: the function of the model, the batch of clips (each a group), and those arrays.
    """

    name: str
    usage: str
    arguments: Sequence[tuple[str, Any]]
    texts: bool
    call: Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Work:
    """Multiplications of the model's matrix products on one batch, for `Task.products`.

    Real tokens, frames and queries alone count, as a perfect implementation needs them: no padding,
    no recomputation, no softmax, no attention between slots (under 5% at 128 slots).

    Attributes:
      config: has the blocks `model` and `batch`.
      counts: of the batch; see `data.pipeline.packing.COUNTS`.
    """

    config: Config
    counts: Mapping[str, int]

    @property
    def size(self) -> int:
        """Width of the model."""
        return self.config.model.hidden_size

    @property
    def layer(self) -> int:
        """Of one token in a transformer's layer."""
        return 4 * self.size * self.size + 2 * self.size * self.config.model.intermediate_size

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.counts["frames"]

    @property
    def words(self) -> int:
        """Number of words in subtitles."""
        return self.counts["tokens"] - self.counts["segments"]

    @property
    def texts(self) -> int:
        """Number of tokens in queries, questions, statements and captions."""
        return self.counts["filled_query_slots"]

    @property
    def rows(self) -> int:
        """Multiplications of encoding the rows of subtitles and frames."""
        model, frames = self.config.model, self.frames * self.config.model.feature_size * self.size
        return self.counts["filled_slots"] * model.cross_modal_layers * self.layer + frames

    @property
    def clips(self) -> int:
        """Multiplications of encoding clips, their rows included."""
        model = self.config.model
        each = model.feature_size * self.size + model.temporal_layers * self.layer
        return self.rows + self.frames * each

    @property
    def queries(self) -> int:
        """Multiplications of encoding queries."""
        each = self.config.model.cross_modal_layers * self.layer + 5 * self.size * self.size
        return self.texts * each


class Task:
    """A task: its loss and metrics on a batch, and what it predicts on a split.

    Metrics of a batch are float32 arrays `[2]` of a sum and a count: they add up over batches,
    hosts and devices, and their value is always a mean over what was counted.

    Attributes:
      Settings: class of its settings.
      layout: of the batches that it is trained on; clips with drawn subtitles for queries in
        pre-training.
      query_type: type of annotations that a downstream task reads, of `data.schema.QUERY_TYPES`;
        '' in pre-training.
      query_metrics: name for the metrics of a pre-training task on a split's annotated queries; ''
        if it does not score them.
      temporal: whether it needs the temporal transformer.
      search_priority: of the tasks of a run, the one with the highest says with which limits and
        ranking an export searches; 0 for tasks that do not search.
      name, kind, settings, tokens: as given.
    """

    Settings: ClassVar[type[TaskSettings]] = TaskSettings
    layout: ClassVar[type[Layout]] = Clips
    query_type = ""
    query_metrics = ""
    temporal = False
    search_priority = 0
    settings: Any

    def __init__(self, settings: TaskSettings, tokens: Tokens, name: str = "", kind: str = ""):
        """Makes a task.

        Args:
          name: of the task, and of its head in the model.
          kind: its name in the registry, and of its block in a config.
        """
        self.name, self.kind = name, kind
        self.settings = settings
        self.tokens = tokens

    @property
    def downstream(self) -> bool:
        """Whether it reads annotated queries; pre-training does not."""
        return bool(self.query_type)

    @property
    def has_head(self) -> bool:
        """Whether it has parameters of its own."""
        return type(self).make_head is not Task.make_head

    def make_head(self, config: Config, rngs: nnx.Rngs) -> nnx.Module:
        """Returns the task's own module, for `model.heads`, if it needs one.

        Args:
          config: the model's.
        """
        raise NotImplementedError

    def loss(self, model: HERO, batch: Batch, context: Context) -> Loss:
        """Returns the mean loss of a batch, and its metrics."""
        raise NotImplementedError

    def products(self, work: Work) -> float:
        """Returns the multiplications of one forward pass over a batch."""
        raise NotImplementedError

    def evaluate(self, model: HERO, batch: Batch, context: Context) -> dict[str, jax.Array]:
        """Returns the metrics of a batch outside of training: those of the loss, or more."""
        return self.loss(model, batch, context)[1]

    @property
    def passes(self) -> Sequence[Pass]:
        """The passes of evaluation over a split; their predictions are joined for `summarize`."""
        return [Pass(self.layout, self.predict)]

    def predict(self, model: HERO, batch: Batch) -> dict[str, jax.Array] | None:
        """Returns what `summarize` reads of a batch, leading axes [G, ...]; None for nothing."""
        del model, batch
        return None

    def complete(
        self, model: HERO, predictions: dict, split: "AnnotatedSplit", mesh: jax.sharding.Mesh
    ) -> dict:
        """Returns the predictions of a whole split, made ready for `summarize`.

        Args:
          model: with its parameters on the devices of `mesh`.
          predictions: arrays `[batches · G, ...]` of all passes.
        """
        del model, split, mesh
        return predictions

    def summarize(
        self, predictions: dict, split: "AnnotatedSplit | None"
    ) -> dict[str, float | int]:
        """Returns metrics of a split: numbers of things as int, all else as float.

        Args:
          predictions: arrays `[batches · G, ...]`.
          split: None in pre-training.
        """
        del predictions, split
        return {}

    def submission(self, predictions: dict, split: "AnnotatedSplit") -> dict[str, str]:
        """Returns prediction files of a split in the benchmark's format: text by file name."""
        del predictions, split
        return {}

    def exported(self, limits: Config) -> ExportedFunction | None:
        """Returns the function that an export offers to other programs, None for none.

        Args:
          limits: of the batch; see `hero_jax.export.LIMITS`.
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
        tokenizer: "Tokenizer",
    ) -> Any:
        """Returns the reply to one query about one clip, for `hero_jax.inference`.

        Args:
          outputs: of `serve`, NumPy arrays.
          num_frames: of the clip.
        """
        del num_frames, seconds_per_feature, tokenizer
        return outputs


def metric(total: jax.Array | float, count: jax.Array | float) -> jax.Array:
    """Returns one metric as a sum and a count."""
    return jnp.stack([jnp.asarray(total, jnp.float32), jnp.asarray(count, jnp.float32)])


def chunk_size(slots: int) -> int:
    """Returns the number of slots of a group that a head reads at once."""
    return max(MIN_CHUNK, -(-slots // CHUNKS))
