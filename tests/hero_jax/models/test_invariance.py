"""The outputs of a clip or a query do not depend on the rest of its batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from hero_jax.models.batch import by_clip as of_clips
from hero_jax.models.batch import frame_mask, is_text, pick_in_frame_rows
from hero_jax.tasks import fom, masking, matching
from tests.hero_jax.tiny import (
    ENCODERS,
    MAX_FRAMES,
    QUICK,
    TOKENS,
    VARIANTS,
    by_clip,
    make_clips,
    make_config,
    make_module,
    pack,
)

CLIPS = list(enumerate(make_clips(10)))
TOLERANCE = 1e-5
# Sizes of a batch: padding and neighbours differ. A clip alone is in a batch of the first sizes,
# because each takes long to compile.
LAYOUTS = (
    {"groups": 1, "clips_per_group": 5, "rows_per_group": 7, "query_rows_per_group": 3},
    {
        "groups": 2,
        "clips_per_group": 4,
        "rows_per_group": 9,
        "query_rows_per_group": 2,
        "row_length": 64,
        "max_frames": MAX_FRAMES + 3,
        # Half the frames that four clips can have: rows hold several of them.
        "frame_rows_per_group": 2,
        "frame_row_length": 2 * (MAX_FRAMES + 3),
    },
)


@functools.cache
def compiled(encoder):
    graphdef, params = nnx.split(make_module(make_config(encoder)))
    # Parameters are an argument: XLA would fold constants while it compiles.
    run = jax.jit(
        lambda params, batch, key: outputs(nnx.merge(graphdef, params), batch, key),
        compiler_options=QUICK,
    )
    return functools.partial(run, params)


def outputs(module, batch, key):
    """Returns all outputs of pre-training on a batch, as `by_clip` takes them.

    Those of a model without pre-training are fewer.
    """
    words, frames = {}, {"temporal outputs": module.encode_clips(batch)}
    if module.fusion is None and module.channels == "both":
        words, hidden = outputs_of_tasks(module, batch, key)
        frames |= hidden
    return words, frames, outputs_of_queries(module, batch)


def outputs_of_tasks(module, batch, key):
    rows = module.encode_rows(batch)
    input_ids, labels = masking.mask_words(batch, key, probability=0.3, tokens=TOKENS)
    logits = module.word_logits(module.encode_rows({**batch, "token_ids": input_ids}))
    word_losses = -jnp.take_along_axis(
        jax.nn.log_softmax(logits), jnp.maximum(labels, 0)[..., None], axis=-1
    )
    words = {
        "cross-modal outputs": jnp.where(is_text(batch)[..., None], rows, 0),
        "masked words": input_ids,
        "labels": labels,
        "word losses": jnp.where(labels >= 0, word_losses[..., 0], 0),
    }
    masked = masking.mask_frames(batch, key, probability=0.3)
    hidden = module.encode_frames(batch, masked=pick_in_frame_rows(masked, batch, False))
    order, targets = masking.shuffle_frames(batch, key, probability=0.5)
    frames = {
        "masked frames": masked,
        "predicted features": of_clips(module.feature_head(hidden), batch),
        "order": order,
        "targets": targets,
    }
    if module.encoder != "text_only":
        words["cross-modal outputs of frames"] = rows
    if module.encoder != "flat":
        frames["order logits"] = of_clips(fom.order_logits(module, batch, order, None), batch)
    return words, frames


def outputs_of_queries(module, batch):
    valid = frame_mask(batch)
    matched = matching.match(module, batch, None)
    groups, places = batch["query_mask"].shape
    own_score = jnp.take_along_axis(matched["scores"], matched["own_clip"][:, None], axis=1)
    vectors, _ = matching.encode(module, batch, None)
    spans = [
        matched[name].reshape(groups, places, -1)[..., : valid.shape[-1]]
        for name in ("start_logits", "end_logits")
    ]
    return {
        "query vectors": vectors,
        "own score": own_score.reshape(groups, places),
        "start logits": spans[0][..., :MAX_FRAMES],
        "end logits": spans[1][..., :MAX_FRAMES],
    }


def yields(encoder, groups, layout, step):
    config = make_config(encoder)
    config.batch.update(layout)
    batch = pack(groups, config, step)
    key = jax.random.fold_in(jax.random.key(config.seed), step)
    return by_clip(batch, *compiled(encoder)(batch, key))


@functools.cache
def alone(encoder, number, step):
    return yields(encoder, [[CLIPS[number]]], LAYOUTS[0], step)[number]


@st.composite
def batches(draw):
    """Draws a layout, and some of the clips in any order for its groups."""
    layout = draw(st.sampled_from(LAYOUTS))
    order = draw(st.permutations(CLIPS))
    groups = []
    for _ in range(layout["groups"]):
        count = draw(st.integers(0, layout["clips_per_group"]))
        groups.append(order[:count])
        order = order[count:]
    return layout, groups


@pytest.mark.parametrize("encoder", [*ENCODERS, *VARIANTS])
@settings(max_examples=15, deadline=None)
@given(batches(), st.integers(0, 1))
def test_the_outputs_of_a_clip_are_those_of_the_clip_alone(encoder, batch, step):
    layout, groups = batch
    together = yields(encoder, groups, layout, step)
    assert together.keys() == {number for group in groups for number, _ in group}
    for number, values in together.items():
        for name, expected in alone(encoder, number, step).items():
            assert values[name].shape == expected.shape, name
            if np.issubdtype(expected.dtype, np.floating):
                assert np.isfinite(values[name]).all(), name
                np.testing.assert_allclose(values[name], expected, atol=TOLERANCE, rtol=0)
            else:
                np.testing.assert_array_equal(values[name], expected, err_msg=name)


def test_draws_change_with_step_seed_and_clip():
    """The test above must not compare constants."""
    batch = pack([[CLIPS[3]]], make_config())

    @jax.jit
    def draw(seed, step, number):
        batch["clip_numbers"] = jnp.full_like(batch["clip_numbers"], number)
        key = jax.random.fold_in(jax.random.key(seed), step)
        return (
            masking.mask_words(batch, key, probability=0.3, tokens=TOKENS)[0],
            masking.mask_frames(batch, key, probability=0.3),
            masking.shuffle_frames(batch, key, probability=0.9)[0],
        )

    drawn = [draw(*which) for which in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 3))]
    for kind in zip(*drawn, strict=True):
        *different, again = (np.asarray(one).tobytes() for one in kind)
        assert len(set(different)) == len(different)
        assert again == different[0]
