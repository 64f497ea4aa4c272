"""Batches of a layout and from a stream, and whether they are the same."""

import itertools

import numpy as np

from data.pipeline.batches import Batches
from data.pipeline.clips import Clips
from data.pipeline.stream import initial_state


def batches_of(layout, data, groups, *, training=True) -> Batches:
    """Batches of a layout's items of a split."""
    return Batches(layout, layout.items(data, training=training), groups)


def clip_batches(clips, config, groups, queries=None) -> Batches:
    """Batches to pre-train on."""
    return batches_of(Clips(config, clips.metadata, queries), clips, groups)


def take(source, count):
    return [*itertools.islice(source, count)]


def train(source, seed, count):
    """The first batches of training."""
    state = initial_state(source.groups, source.config.max_waiting)
    return take(source.train(seed, state, 0), count)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
