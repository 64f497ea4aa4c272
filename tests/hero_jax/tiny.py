"""A tiny model, random clips and packed batches of them, without TensorFlow."""

from types import SimpleNamespace

import jax
import numpy as np
from flax import nnx

from configs import pretrain
from data.pipeline import asking, packing, segments
from data.synthetic import Lengths, random_clip
from hero_jax.experiment.config_checks import settle_segments
from hero_jax.models.hero import HERO
from hero_jax.tasks.base import Tokens

TOKENS = Tokens(cls=0, pad=1, sep=2, mask=4, first_word=5, end_word=97)
METADATA = SimpleNamespace(special_ids=TOKENS, seconds_per_feature=1.5)
FEATURE_SIZE = 6
MAX_FRAMES = 9
ENCODERS = ("hierarchical", "text_only", "flat")
# Settings of the model of VALUE's variants of the hierarchical encoder.
VARIANTS = {
    "video": {"channels": "video"},
    "subtitle": {"channels": "subtitle"},
    "sequence": {"fusion": "sequence"},
    "add": {"fusion": "add"},
    "concat": {"fusion": "concat"},
    "video_add": {"channels": "video", "fusion": "add"},
}
# Options of jit where compiling takes longer than running: no optimisations of LLVM.
QUICK = {"xla_backend_optimization_level": 0}


def make_config(encoder="hierarchical"):
    """Returns the pre-training config with the smallest sizes that are not trivial.

    Args:
      encoder: one of `ENCODERS` or of `VARIANTS`.
    """
    config = pretrain.get_config()
    config.batch.update(
        groups=1,
        clips_per_group=4,
        accumulation=1,
        row_length=48,
        rows_per_group=8,
        query_rows_per_group=4,
        queries_per_clip=2,
        max_frames=MAX_FRAMES,
        max_tokens=6,
        segmentation="clip" if encoder == "flat" else "subtitle",
    )
    config.model.update(
        **VARIANTS.get(encoder, {"encoder": encoder}),
        hidden_size=16,
        intermediate_size=24,
        num_heads=2,
        cross_modal_layers=1,
        temporal_layers=1,
        vocab_size=TOKENS.end_word,
        feature_size=FEATURE_SIZE,
        text_positions=40,
        segment_frames=12,
        clip_positions=12,
        query_positions=12,
        max_frames=12,
        # Small weights would hide errors behind LayerNorm's epsilon and flat softmaxes.
        initializer_range=0.3,
        dtype="float32",
    )
    if encoder == "sequence":
        config.model.clip_positions = 24
    settle_segments(config)
    return config


def make_module(config, seed=0) -> HERO:
    return HERO(config.model, rngs=nnx.Rngs(seed))


def make_clip(number, num_frames, words):
    """Returns a clip with consecutive subtitles of two frames each; words: their lengths."""
    subtitles = tuple((2 * j, max(min(2, num_frames - 2 * j), 0), n) for j, n in enumerate(words))
    rng = np.random.default_rng(number)
    lengths = Lengths(num_frames, subtitles)
    return random_clip(rng, f"c{number}", lengths, (5, TOKENS.end_word), FEATURE_SIZE)


def make_clips(count, seed=0):
    """Returns clips of all kinds: one frame, no subtitles, subtitles without words or frames."""
    special = [(1, [3]), (7, []), (3, [2, 0, 5]), (9, [6, 1, 4, 2])]
    rng = np.random.default_rng(seed)
    others = [
        (int(rng.integers(1, MAX_FRAMES + 1)), rng.integers(0, 7, rng.integers(0, 5)).tolist())
        for _ in range(count - len(special))
    ]
    return [make_clip(number, *sizes) for number, sizes in enumerate(special + others)]


def pack(groups, config, step=0) -> dict[str, np.ndarray]:
    """Packs groups of `(number, clip)` into a batch, in which all must fit."""
    batch = packing.empty_batch(len(groups), config.batch, FEATURE_SIZE, TOKENS.pad)
    choose = asking.drawn_subtitles(config.seed, step, config.batch.queries_per_clip)
    for g, clips in enumerate(groups):
        arrays = {name: array[g] for name, array in batch.items()}
        packer = packing.GroupPacker(arrays, config.batch, TOKENS, choose)
        for number, clip in clips:
            assert packer.add(segments.prepare(clip, number, config.batch, METADATA))
    return batch


def by_clip(batch, slots, frames, queries) -> dict[int, dict[str, np.ndarray]]:
    """Splits arrays by the number of their clip.

    Args:
      batch: the batch that the arrays belong to.
      slots: arrays `[G, R, T, ...]`, returned in the order of segments and slots.
      frames: arrays `[G, C, F, ...]`, returned without padding.
      queries: arrays `[G, N, ...]`, returned in the order of the clip's queries.
    """
    slots, frames, queries = jax.device_get((slots, frames, queries))
    result = {}
    for g, c in np.argwhere(batch["num_frames"] > 0):
        in_clip = (batch["segment_ids"][g] > 0) & (batch["clip_index"][g] == c)
        rows, columns = np.nonzero(in_clip)
        order = np.lexsort((columns, batch["subtitle_index"][g][in_clip]))
        rows, columns = rows[order], columns[order]
        about_clip = batch["query_mask"][g] & (batch["query_clip"][g] == c)
        result[int(batch["clip_numbers"][g, c])] = {
            **{name: array[g][rows, columns] for name, array in slots.items()},
            **{name: array[g, c, : batch["num_frames"][g, c]] for name, array in frames.items()},
            **{name: array[g][about_clip] for name, array in queries.items()},
        }
    return result
