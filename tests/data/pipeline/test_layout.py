"""The protocol of layouts: all keep it, and a new one needs nothing but its own class."""

import subprocess
import sys

import numpy as np
import pytest

from configs import pretrain
from data.pipeline import packing
from data.pipeline.batches import Batches
from data.pipeline.captions import Captions
from data.pipeline.choices import Choices
from data.pipeline.clips import Clips, CorpusClips
from data.pipeline.layout import Items, Layout, Limit
from data.pipeline.order import EpochOrder, spread
from data.pipeline.retrieval import QueryTexts, Retrieval
from data.report import Report
from tests.data.pipeline.packing_samples import METADATA, batch_config
from tests.data.pipeline.stream_samples import batches_of, train
from tests.paths import ROOT

LAYOUTS = {
    "clips": Clips,
    "corpus": CorpusClips,
    "texts": QueryTexts,
    "retrieval": Retrieval,
    "choices": Choices,
    "captions": Captions,
}


class Numbers:
    """Items that are numbers."""

    def __init__(self, numbers):
        self.numbers, self.name, self.left_out = numbers, "numbers", Report()

    def __len__(self):
        return len(self.numbers)

    def prepare(self, number):
        return self.numbers[number]

    def order(self, seed):
        return EpochOrder(len(self), seed)

    def sample(self, count):
        return spread(len(self), count)

    def counts(self, arrays):
        return {"sum": int(arrays["number"].sum())}


class NumberLayout:
    """As many numbers of a group as their sum allows."""

    name = "numbers"
    annotated = False

    def __init__(self, config, metadata):
        self.config = config

    def items(self, data, *, training):
        return Numbers(data)

    def arrays(self, groups):
        return {"number": np.zeros((groups, self.config.clips_per_group), int)}

    def packer(self, arrays, seed=0, step=0):
        return NumberPacker(arrays["number"])

    def slots(self, item):
        return item, []

    @staticmethod
    def limits(config, block):
        return []


class NumberPacker:
    MOST = 10

    def __init__(self, numbers):
        self.numbers, self.added = numbers, 0
        self.counts = dict.fromkeys(packing.COUNTS, 0)

    @property
    def full(self):
        return self.added == len(self.numbers)

    @property
    def empty(self):
        return not self.added

    def add(self, item):
        if self.numbers.sum() + item > self.MOST:
            return False
        self.numbers[self.added] = item
        self.added += 1
        return True

    def refusal(self, item):
        return f"{item} is too large"


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_layouts_keep_the_protocol(name):
    layout = LAYOUTS[name](batch_config(), METADATA)
    assert isinstance(layout, Layout)
    assert layout.name == name
    assert all(isinstance(limit, Limit) for limit in layout.limits(pretrain.get_config(), "mlm"))


def test_a_new_layout_is_a_class():
    assert isinstance(NumberLayout(batch_config(), METADATA), Layout)
    assert isinstance(Numbers([1]), Items)
    numbers = [4, 9, 2, 7, 1, 8, 8]
    source = batches_of(NumberLayout(batch_config(max_waiting=1), METADATA), numbers, range(1))
    assert isinstance(source, Batches)
    batches = list(source.once(0))
    # 9 does not fit beside 4 and comes first in the next batch; so does 2 beside 9, and so on.
    assert [b.arrays["number"][0].tolist() for b in batches[:2]] == [[4, 0, 0], [9, 0, 0]]
    assert sorted(n for b in batches for n in b.arrays["number"].flat if n) == sorted(numbers)
    assert batches[0].counts["sum"] == 4
    assert batches[0].counts["waiting"] == 1
    with pytest.raises(ValueError, match="11 is too large"):
        train(batches_of(source.layout, [11], range(1)), 0, 1)


def fields(layout, block="", **changes):
    config = pretrain.get_config()
    config.batch.update(changes)
    return [(limit.value, limit.field) for limit in layout.limits(config, block)]


def test_limits_by_hand():
    changes = {
        "max_frames": 7,
        "max_tokens": 11,
        "max_query_tokens": 13,
        "context_subtitles": 1,
        "segmentation": "subtitle",
    }
    frames = [(7, "model.segment_frames"), (7, "model.clip_positions")]
    clips = [*frames, (23, "model.text_positions")]
    queries = [
        (14, "model.text_positions"),
        (14, "model.query_positions"),
        (14, "batch.row_length"),
    ]
    assert fields(CorpusClips, **changes) == clips
    assert fields(QueryTexts, **changes) == queries
    assert fields(Retrieval, **changes) == [*clips, *queries]
    assert fields(Choices, **changes) == [*frames, (23 + 15, "model.text_positions")]
    assert fields(Captions, "tvc", **changes) == [*clips, (14, "tvc.decoder_positions")]
    drawn = [
        (7, "model.max_frames"),
        (12, "model.query_positions"),
        (12, "batch.row_length"),
    ]
    assert fields(Clips, **changes) == [*clips, *drawn, *queries]
    in_rows = [(7, "batch.frame_row_length"), *clips]
    assert fields(CorpusClips, frame_row_length=20, **changes) == in_rows
    whole = {**changes, "segmentation": "clip", "max_clip_tokens": 40}
    assert fields(CorpusClips, **whole) == [*frames, (41, "model.text_positions")]


def test_limits_of_a_sequence_and_of_words_without_frames():
    config = pretrain.get_config()
    config.model.fusion = "sequence"
    config.batch.update(max_frames=7, max_tokens=11, max_query_tokens=13, max_subtitles=9)
    found = [(limit.value, limit.field) for limit in Choices.limits(config, "")]
    # Words and subtitles begin at position 2, and the temporal transformer reads frames and those.
    assert found == [
        (11, "model.text_positions"),
        (7, "model.segment_frames"),
        (7, "model.clip_positions"),
        (2 + 12 + 15, "model.text_positions"),
        (16, "model.clip_positions"),
    ]
    config.model.fusion, config.batch.max_subtitles = "add", 0
    found = [(limit.value, limit.field) for limit in CorpusClips.limits(config, "")]
    assert (2 + 12, "model.text_positions") in found


def test_layouts_need_no_tensorflow():
    modules = ("batches", "captions", "choices", "clips", "mixture", "retrieval", "units")
    names = ", ".join(f"data.pipeline.{name}" for name in modules)
    program = f"import {names}, sys; assert not {{'tensorflow', 'jax'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
