"""Clips a second of the training stream, and its memory on a data set of one and of four sizes.

    python benchmarks/loader.py [--clips=400]

Writes data sets of clips of 50 frames of 4,352 float16 features, with subtitles as television has
them, to a temporary folder (0.4 MB a clip), and reads them from the page cache with the batch
settings of the full recipe. The way from the host to the devices is not measured.
"""

import argparse
import multiprocessing
import os
import pathlib
import re
import sys
import tempfile
import time

import numpy as np

# Before TensorFlow is imported: it greets.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from configs import pretrain
from data.building.dataset import build_dataset
from data.building.plan import Building
from data.pipeline.batches import Batches, fitting_rows
from data.pipeline.clips import Clips
from data.pipeline.stream import initial_state
from data.records.reader import Split
from data.schema import RawClip, RawSubtitle
from data.sources.base import ClipSource
from data.synthetic import tv_lengths
from data.tokenizer import Tokenizer

NUM_FRAMES = 50
SECONDS_PER_FEATURE = 1.5
FEATURE_SIZE = 4352
CLIPS_READ = 5000


def build(folder, num_clips):
    """Writes a data set of `num_clips` clips."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((NUM_FRAMES, FEATURE_SIZE)).astype(np.float16)

    def clip(number):
        subtitles = tuple(
            # A letter that the tokenizer has no longer words of is a token.
            RawSubtitle(
                "z" * words, first * SECONDS_PER_FEATURE, (first + frames) * SECONDS_PER_FEATURE
            )
            for first, frames, words in tv_lengths(rng, NUM_FRAMES).subtitles
        )
        return RawClip(f"clip{number}", (np.roll(features, number, axis=0),), subtitles)

    source = ClipSource({"train": map(clip, range(num_clips))}, SECONDS_PER_FEATURE)
    build_dataset(folder, source, Tokenizer.train(["a b c"], 270), Building())


def measure(folder, groups):
    """Reads and packs clips; returns clips a second, peak memory in MB, mean fill."""
    config = pretrain.get_config().batch
    config.groups = groups
    clips = Split(folder, "train")
    layout = Clips(config, clips.metadata)
    batches = Batches(layout, layout.items(clips, training=True), range(groups))
    config.rows_per_group, config.query_rows_per_group = fitting_rows(batches)
    stream = batches.train(0, initial_state(range(groups), config.max_waiting), 0)
    # The first batches come from a cold start.
    for _ in range(2):
        next(stream)
    begun, done, slots, filled = time.perf_counter(), 0, 0, 0
    while done < CLIPS_READ:
        batch = next(stream)
        done += batch.counts["clips"]
        filled += batch.counts["filled_slots"]
        slots += batch.arrays["segment_ids"].size
    seconds = time.perf_counter() - begun
    return done / seconds, peak_memory(), filled / slots


def peak_memory():
    """Of this process, in MB. (What `getrusage` says includes the parent it was forked from.)"""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=400, help="of the smaller data set")
    parser.add_argument("--groups", type=int, default=1, help="of 32 clips, in a batch")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print("   clips    clips/s    peak memory    rows full")
    with tempfile.TemporaryDirectory() as folder:
        for num_clips in (arguments.clips, 4 * arguments.clips):
            dataset = pathlib.Path(folder) / f"clips{num_clips}"
            build(dataset, num_clips)
            # A process of its own for each, since peak memory never falls.
            with context.Pool(1) as pool:
                rate, memory, fill = pool.apply(measure, (dataset, arguments.groups))
            print(f"{num_clips:8,d} {rate:10,.0f} {memory:11,.0f} MB {100 * fill:10.1f}%")


if __name__ == "__main__":
    main()
