"""VALUE's other ways to join the frames of a clip with its subtitles.

In these, the cross-modal transformer reads subtitles without frames, whose positions begin as in
RoBERTa, and a subtitle's vector is the largest value of each channel over its special token and its
words. In the original the padding of its batch counts too. The shapes are those of
`hero_jax.models.hero`.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from data.config import Config
from hero_jax.models.batch import Batch, by_clip, frame_mask
from hero_jax.models.embeddings import TOKEN_TYPE, FrameEmbedding
from hero_jax.models.layers import EPSILON, Projection, embedding, layer_norm
from hero_jax.models.ops import fold_in, take_slots

# The position of the first word of a subtitle, and of a clip's first subtitle: RoBERTa's id of
# padding, and one more.
FIRST_POSITION = 2


class Alignment(nnx.Module):
    """Frames joined with the vectors of their subtitles: by a sum, or side by side."""

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.subtitle_projection = Projection(size, "embed", config, rngs=rngs)
        self.joint_projection = (
            Projection(2 * size, "embed", config, rngs=rngs) if config.fusion == "concat" else None
        )

    def __call__(
        self, frames: jax.Array, subtitles: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Joins projected frames and the vectors of their subtitles, zero for none, `[..., H]`."""
        subtitles = self.subtitle_projection(subtitles, fold_in(key, 0))
        if self.joint_projection is None:
            return frames + subtitles
        return self.joint_projection(jnp.concatenate([frames, subtitles], -1), fold_in(key, 1))


class Sequence(nnx.Module):
    """The frames of a clip, then all of its subtitles, each with the position among its kind.

    A batch has `subtitle_slot` `[G, C·V, S]`: the slot of each subtitle's special token, of R·T; -1
    for none.
    """

    def __init__(self, config: Config, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.frame_embedding = FrameEmbedding(config, rngs=rngs)
        self.position = embedding(
            config.text_positions, size, (None, "embed"), config=config, rngs=rngs
        )
        self.token_type = embedding(2, size, (None, "embed"), config=config, rngs=rngs)
        self.norm = layer_norm(size, EPSILON, rngs=rngs)

    def __call__(self, batch: Batch, pooled: jax.Array) -> jax.Array:
        """Embeds the places of clips.

        Args:
          batch: packed rows and frames.
          pooled: `[G, R, T, H]`, at each slot the vector of its subtitle.

        Returns:
          `[G, C·V, F + S, H]` float32.
        """
        slot, token_type = batch["subtitle_slot"], self.token_type[...][TOKEN_TYPE]
        groups, versions, most = slot.shape
        frames = by_clip(self.frame_embedding.project(batch["frame_features"], None), batch)
        positions = jnp.arange(frames.shape[2])
        frames = self.frame_embedding.add_position(frames, positions, token_type)
        frames = jnp.repeat(frames, versions // frames.shape[1], axis=1)
        rows = pooled.reshape(groups, -1, pooled.shape[-1])
        subtitles = take_slots(rows, jnp.maximum(slot, 0).reshape(groups, -1))
        subtitles = subtitles.reshape(groups, versions, most, -1)
        position = self.position[...][FIRST_POSITION : FIRST_POSITION + most]
        subtitles = self.norm(subtitles + position + token_type)
        return jnp.concatenate([frames, subtitles], axis=2)


def place_mask(batch: Batch) -> jax.Array:
    """Returns a mask `[G, C, F]`, or `[G, C, F + S]` in a batch with `subtitle_slot`.

    It is True at the frames of the clips, and at their subtitles.
    """
    frames = frame_mask(batch)
    if "subtitle_slot" not in batch:
        return frames
    # The subtitles of a clip's first version; all have the same number.
    slot = batch["subtitle_slot"].reshape(*frames.shape[:2], -1, batch["subtitle_slot"].shape[-1])
    return jnp.concatenate([frames, slot[:, :, 0] >= 0], axis=2)


def place_positions(batch: Batch) -> jax.Array:
    """Returns the numbers `[G, C, F + S]` of a clip's places, without those that it lacks."""
    return jnp.maximum(jnp.cumsum(place_mask(batch), axis=-1) - 1, 0)
