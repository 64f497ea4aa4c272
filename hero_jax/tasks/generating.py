"""Generation of captions: how the next word is chosen, and from which frames."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from hero_jax.models import decoding
from hero_jax.models.batch import Batch
from hero_jax.models.caption_decoder import CaptionDecoder
from hero_jax.models.hero import HERO
from hero_jax.models.ops import take_slots
from hero_jax.tasks.base import Tokens
from hero_jax.tasks.sharing import HeadSettings

# Ways to choose the next word.
DECODINGS = ("greedy", "beam", "sample")
# Seed of sampled captions, which depend on it and on the number of the caption's record.
SAMPLING_SEED = 0


@dataclasses.dataclass(frozen=True)
class CaptioningSettings(HeadSettings):
    """Settings of captioning; see `HeadSettings`.

    Attributes:
      label_smoothing: share of the target that all other words have together.
      decoder_layers, decoder_positions: of the decoder.
      max_steps: tokens of a caption to generate.
      decoding: 'greedy', 'beam' or 'sample'.
      beam_width, length_penalty: of beam search.
      temperature, top_p: of sampling.
    """

    label_smoothing: float = 0.1
    decoder_layers: int = 2
    decoder_positions: int = 1_024
    max_steps: int = 30
    decoding: str = "greedy"
    beam_width: int = 5
    length_penalty: float = 0.6
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self):
        self.require("label_smoothing", 0 <= self.label_smoothing < 1, "0 or more and below 1")
        self.require("max_steps", self.max_steps >= 1, "1 or more")
        positions = f"at most decoder_positions={self.decoder_positions}"
        self.require("max_steps", self.max_steps <= self.decoder_positions, positions)
        self.require("decoding", self.decoding in DECODINGS, f"one of {', '.join(DECODINGS)}")
        self.require("beam_width", self.beam_width >= 1, "1 or more")
        self.require(
            "temperature", self.temperature > 0, "above 0; decoding='greedy' draws nothing"
        )
        self.require("top_p", 0 < self.top_p <= 1, "above 0 and at most 1")
        super().__post_init__()

    @property
    def width(self) -> int:
        """Sequences of a caption that are decoded together."""
        return self.beam_width if self.decoding == "beam" else 1


def moment_frames(
    model: HERO, decoder: CaptionDecoder, batch: Batch, dropout_key: jax.Array | None
) -> tuple[Any, jax.Array]:
    """Returns the frames that the decoder attends to for each caption.

    Returns:
      For each layer keys and values of the caption's clip, `[G, N, heads, F, H / heads]`, and a
      mask `[G, N, F]`, True at the frames of its moment.
    """
    clips = decoder.project(model.encode_clips(batch, key=dropout_key))
    frames = jax.tree.map(lambda x: take_slots(x, batch["query_clip"]), clips)
    place = jnp.arange(batch["clip_slot"].shape[-1])
    ranges = batch["caption_ranges"]
    frame_mask = (ranges[..., :1] <= place) & (place < ranges[..., 1:])
    return frames, frame_mask & batch["query_mask"][..., None]


def generate_captions(
    model: HERO,
    decoder: CaptionDecoder,
    batch: Batch,
    *,
    settings: CaptioningSettings,
    tokens: Tokens,
) -> jax.Array:
    """Returns captions `[G, N, max_steps]` int32 of a batch's moments: words, SEP, padding."""
    groups, count = batch["query_mask"].shape
    frames, frame_mask = moment_frames(model, decoder, batch, None)
    frames, frame_mask, is_query, numbers = jax.tree.map(
        lambda x: x.reshape(groups * count, *x.shape[2:]),
        (frames, frame_mask, batch["query_mask"], batch["query_numbers"]),
    )
    step = word_step(model, decoder, frames, frame_mask)
    cache = decoder.init_cache((groups * count, settings.width), settings.max_steps)
    result = generate(step, cache, is_query, numbers, settings=settings, tokens=tokens)
    return result.reshape(groups, count, -1)


def word_step(
    model: HERO, decoder: CaptionDecoder, frames: Any, frame_mask: jax.Array
) -> decoding.StepFunction:
    """Returns the function that decodes a word of each of N captions.

    Args:
      frames, frame_mask: as `moment_frames` returns them, for `[N, ...]`.
    """

    def step(words: jax.Array, position: jax.Array, kept: Any) -> tuple[jax.Array, Any]:
        words = model.cross_modal.text_embedding.word[...][words]
        x, kept = decoder.step(words, position, kept, frames, frame_mask)
        return model.word_logits(x), kept

    return step


def generate(
    step: decoding.StepFunction,
    cache: Any,
    is_query: jax.Array,
    numbers: jax.Array,
    *,
    settings: CaptioningSettings,
    tokens: Tokens,
) -> jax.Array:
    """Returns N captions `[N, max_steps]` int32, in the way that the settings name.

    Args:
      step, cache: see `hero_jax.models.decoding`; leaves of the cache are `[N, width, ...]`.
      is_query: `[N]` bool, False for padding.
      numbers: `[N]`, of the captions' records.
    """
    limits = decoding.Limits(tokens.cls, tokens.sep, tokens.pad, settings.max_steps)
    if settings.decoding == "beam":
        penalty = settings.length_penalty
        return decoding.beam(
            step, cache, is_query, limits, width=settings.width, length_penalty=penalty
        )[0]
    if settings.decoding == "sample":
        seed = jax.random.key(SAMPLING_SEED)
        return decoding.sample(
            step,
            cache,
            is_query,
            limits,
            keys=jax.vmap(jax.random.fold_in, (None, 0))(seed, numbers),
            temperature=settings.temperature,
            top_p=settings.top_p,
        )
    return decoding.greedy(step, cache, is_query, limits)
