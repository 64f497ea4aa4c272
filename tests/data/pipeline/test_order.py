"""The order of an epoch: a permutation, another one each epoch and for each seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.pipeline.order import EpochOrder

SEEDS = st.integers(0, 2**64)


def epoch(size, seed, number):
    order = EpochOrder(size, seed)
    return [order(position) for position in range(number * size, (number + 1) * size)]


@given(st.integers(1, 2000), SEEDS, st.integers(0, 10**6))
def test_every_record_comes_once_an_epoch(size, seed, number):
    assert sorted(epoch(size, seed, number)) == list(range(size))


@given(st.integers(50, 200), SEEDS, SEEDS, st.integers(0, 1000), st.integers(0, 1000))
def test_epochs_and_seeds_differ(size, seed, other_seed, number, other_number):
    if (seed, number) != (other_seed, other_number):
        assert epoch(size, seed, number) != epoch(size, other_seed, other_number)


@given(st.integers(1, 500), st.integers(0, 5))
def test_without_a_seed_records_keep_their_order(size, number):
    assert epoch(size, None, number) == list(range(size))


def test_every_record_is_as_likely_at_every_place():
    size, epochs = 40, 1000
    counts = np.zeros((size, size))
    for number in range(epochs):
        counts[np.arange(size), epoch(size, 0, number)] += 1
    expected = epochs / size
    chi_square = np.sum((counts - expected) ** 2 / expected)
    freedom = (size - 1) ** 2
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_neighbours_are_scattered():
    places = np.argsort(epoch(10_000, 0, 0))
    # In a random order, the places of two neighboring records differ by a third on average.
    assert abs(np.abs(np.diff(places)).mean() / 10_000 - 1 / 3) < 0.01
