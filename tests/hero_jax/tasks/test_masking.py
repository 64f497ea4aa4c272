"""Rates and rules of what is drawn for masked words, masked frames and shuffled frames."""

import functools

import jax
import numpy as np
import pytest

from hero_jax.models.batch import is_text
from hero_jax.tasks import masking
from tests.hero_jax.tiny import MAX_FRAMES, TOKENS, make_clip, make_config, pack
from tests.paths import GOLDEN

NUM_CLIPS = 400
# Of a mean over many draws, in standard deviations.
BOUND = 5


@functools.cache
def batch():
    """Clips of 1 to 9 frames, with subtitles of 1 to 6 words."""
    config = make_config()
    config.batch.update(clips_per_group=NUM_CLIPS, rows_per_group=200, query_rows_per_group=150)
    rng = np.random.default_rng(0)
    clips = [
        make_clip(number, int(rng.integers(1, MAX_FRAMES + 1)), rng.integers(1, 7, 4).tolist())
        for number in range(NUM_CLIPS)
    ]
    return pack([list(enumerate(clips))], config)


def key(seed=0):
    return jax.random.key(seed)


# Compiled once for all probabilities; with a constant key XLA would draw while it compiles.
mask_words = jax.jit(functools.partial(masking.mask_words, tokens=TOKENS))
mask_frames = jax.jit(masking.mask_frames)
shuffle_frames = jax.jit(masking.shuffle_frames)


@functools.cache
def masked_words(probability):
    return jax.device_get(mask_words(batch(), key(), probability=probability))


def words():
    """`[G, R, T]`, True at words proper."""
    text = np.asarray(is_text(batch()))
    return text & (batch()["position_ids"] > 0)


def segments(values):
    """The values at the words of each segment."""
    here = words()
    place = batch()["clip_index"][here] * 100 + batch()["subtitle_index"][here]
    order = np.lexsort((batch()["position_ids"][here], place))
    starts = np.flatnonzero(np.diff(place[order])) + 1
    return np.split(values[here][order], starts)


def assert_rate(count, total, rate):
    assert abs(count - total * rate) <= BOUND * np.sqrt(total * rate * (1 - rate))


@pytest.mark.parametrize("probability", [0.15, 0.5])
def test_words_are_masked_at_the_rate_and_at_least_one_of_each_segment(probability):
    _, labels = masked_words(probability)
    chosen = segments(labels >= 0)
    lengths = np.array([len(one) for one in chosen])
    counts = np.array([one.sum() for one in chosen])
    assert counts.min() >= 1
    # A segment of n words without a draw, (1 - p)^n of them, gets its first word.
    empty = (1 - probability) ** lengths
    expected = (lengths * probability + empty).sum()
    deviation = np.sqrt((lengths * probability * (1 - probability)).sum())
    assert abs(counts.sum() - expected) < BOUND * deviation


def test_only_words_are_masked_and_labels_are_what_they_were():
    _, labels = masked_words(0.5)
    assert (labels[~words()] == -1).all()
    chosen = labels >= 0
    np.testing.assert_array_equal(labels[chosen], batch()["token_ids"][chosen])


def test_special_tokens_give_way_to_cls_and_everything_else_stays():
    input_ids, labels = masked_words(0.5)
    special = np.asarray(is_text(batch())) & ~words()
    assert (batch()["token_ids"][special] == TOKENS.sep).all()
    assert (input_ids[special] == TOKENS.cls).all()
    kept = (labels == -1) & ~special
    np.testing.assert_array_equal(input_ids[kept], batch()["token_ids"][kept])


def test_chosen_words_are_masked_replaced_and_kept_8_to_1_to_1():
    input_ids, labels = masked_words(0.5)
    inputs, wanted = segments(input_ids), segments(labels)
    # Where a segment's only choice is its first word, it may be one that had to be.
    drawn = [~((w >= 0).sum() == 1 and w[0] >= 0) for w in wanted]
    inputs, wanted = (
        np.concatenate([x for x, use in zip(xs, drawn, strict=True) if use])
        for xs in (inputs, wanted)
    )
    inputs, wanted = inputs[wanted >= 0], wanted[wanted >= 0]
    masked = inputs == TOKENS.mask
    kept = inputs == wanted
    replaced = ~masked & ~kept
    num_words = TOKENS.end_word - TOKENS.first_word
    assert_rate(masked.sum(), len(inputs), 0.8)
    # A random word is the old one once in a while.
    assert_rate(replaced.sum(), len(inputs), 0.1 * (1 - 1 / num_words))
    assert_rate(kept.sum(), len(inputs), 0.1 * (1 + 1 / num_words))
    assert inputs[replaced].min() >= TOKENS.first_word
    assert inputs[replaced].max() < TOKENS.end_word
    middle = (TOKENS.first_word + TOKENS.end_word - 1) / 2
    deviation = np.sqrt((num_words**2 - 1) / 12 / replaced.sum())
    assert abs(inputs[replaced].mean() - middle) < BOUND * deviation


def test_a_word_that_had_to_be_chosen_is_masked():
    input_ids, labels = masked_words(0.0)
    for inputs, wanted in zip(segments(input_ids), segments(labels), strict=True):
        assert wanted[0] >= 0
        assert (wanted[1:] == -1).all()
        assert inputs[0] == TOKENS.mask


def valid_frames():
    return np.arange(MAX_FRAMES) < batch()["num_frames"][..., None]


@pytest.mark.parametrize("probability", [0.0, 0.15, 0.5])
def test_frames_are_masked_at_the_rate_and_at_least_one_of_each_clip(probability):
    masked = np.asarray(mask_frames(batch(), key(), probability=probability))
    assert not (masked & ~valid_frames()).any()
    counts, lengths = masked.sum(-1), batch()["num_frames"]
    assert counts.min() >= 1
    expected = (lengths * probability + (1 - probability) ** lengths).sum()
    deviation = np.sqrt((lengths * probability * (1 - probability)).sum())
    assert abs(counts.sum() - expected) <= BOUND * deviation
    # The one that has to be is as likely to be any.
    long = lengths[0] == MAX_FRAMES
    mean = np.argmax(masked[0][long & (counts[0] == 1)], axis=-1).mean()
    deviation = np.sqrt((MAX_FRAMES**2 - 1) / 12 / (long & (counts[0] == 1)).sum())
    assert abs(mean - (MAX_FRAMES - 1) / 2) < BOUND * deviation


def test_a_place_without_a_clip_has_no_masked_frame():
    empty = pack([[]], make_config())
    assert not np.asarray(masking.mask_frames(empty, key(), probability=0.9)).any()


def check_order(order, targets, num_frames):
    """By the golden README: frame i goes to order[i], and targets say where it was."""
    assert sorted(order.tolist()) == list(range(len(order)))
    np.testing.assert_array_equal(order[num_frames:], np.arange(num_frames, len(order)))
    assert (targets[num_frames:] == -1).all()
    predicted = np.flatnonzero(targets >= 0)
    np.testing.assert_array_equal(order[targets[predicted]], predicted)
    # A frame that was not drawn stays, and the drawn ones keep to their own places.
    moved = np.flatnonzero(order != np.arange(len(order)))
    assert set(moved) <= set(targets[predicted])
    assert set(targets[predicted]) == set(predicted)


@pytest.mark.parametrize("probability", [0.15, 0.5, 1.0])
def test_orders_are_permutations_and_targets_undo_them(probability):
    order, targets = jax.device_get(shuffle_frames(batch(), key(), probability=probability))
    for one in zip(order[0], targets[0], batch()["num_frames"][0], strict=True):
        check_order(*one)
    assert_rate((targets >= 0).sum(), valid_frames().sum(), probability)
    if probability == 1.0:
        # Of n frames in random order one stays in its place on average, with variance one.
        stay = (order[0] == np.arange(MAX_FRAMES)) & valid_frames()[0]
        stay = stay[batch()["num_frames"][0] > 1].sum(-1)
        assert abs(stay.mean() - 1) < BOUND / np.sqrt(len(stay))


@pytest.mark.parametrize("directory", ["equal", "ragged"])
def test_the_original_draws_its_orders_by_the_same_rules(directory):
    golden = np.load(GOLDEN / directory / "fom.npz")
    for name in golden.files:
        if name.endswith("shuffled_orders"):
            order = golden[name]
            targets = golden[name.replace("shuffled_orders", "targets")]
            check_order(order, targets, len(order))
