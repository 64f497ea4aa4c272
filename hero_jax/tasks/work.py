"""Quantities of a batch from which tasks compute their multiplications."""

import dataclasses
from collections.abc import Mapping

from data.config import Config


@dataclasses.dataclass(frozen=True)
class Work:
    """Multiplications of the model's matrix products on one batch, for `Task.products`.

    Only the tokens, frames and queries that a perfect implementation needs are counted: no padding,
    recomputation or softmax, and no attention between slots (below 5% at 128 slots).

    Attributes:
      config: config with the blocks `model` and `batch`.
      counts: counts of the batch; see `data.pipeline.packing.COUNTS`.
    """

    config: Config
    counts: Mapping[str, int]

    @property
    def size(self) -> int:
        """Width of the model."""
        return self.config.model.hidden_size

    @property
    def layer(self) -> int:
        """Multiplications of one token in a layer of a transformer."""
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
