"""Clips per second and memory of the training stream, on a dataset and on one four times as large.

    python -m benchmarks.loader [--clips=400]

Writes clips of 50 frames of 4,352 float16 features, with subtitles of the lengths of television's,
to a temporary folder (0.4 MB per clip), and reads them from the page cache with the batch settings
of the full recipe. The transfer from host to devices is not measured.
"""

import argparse
import os
import pathlib
import tempfile
import time
from collections.abc import Sequence

# Read when TensorFlow is imported, which otherwise prints notices.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from benchmarks import simulated
from benchmarks.measuring import in_new_process, peak_memory
from configs import pretrain
from data.pipeline.batches import Batches, fitting_rows
from data.pipeline.clips import Clips
from data.pipeline.stream import initial_state
from data.records.reader import Split

NUM_FRAMES = 50
FEATURE_SIZE = 4352
VOCAB_SIZE = 600
CLIPS_READ = 5_000


def measure(folder: pathlib.Path, groups: int, clips_read: int) -> tuple[float, float, float]:
    """Reads and packs clips; returns clips per second, peak memory in MB, and mean fill."""
    config = pretrain.get_config().batch
    config.groups = groups
    clips = Split(folder, "train")
    layout = Clips(config, clips.metadata)
    batches = Batches(layout, layout.items(clips, training=True), range(groups))
    rows, query_rows, frame_rows = fitting_rows(batches)
    config.update(
        rows_per_group=rows, query_rows_per_group=query_rows, frame_rows_per_group=frame_rows
    )
    stream = batches.train(0, initial_state(range(groups), config.max_waiting), 0)
    # The first batches include the start of the reading threads.
    for _ in range(2):
        next(stream)
    begun, done, slots, filled = time.perf_counter(), 0, 0, 0
    while done < clips_read:
        batch = next(stream)
        done += batch.counts["clips"]
        filled += batch.counts["filled_slots"]
        slots += batch.arrays["segment_ids"].size
    seconds = time.perf_counter() - begun
    return done / seconds, peak_memory(), filled / slots


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loader", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--clips", type=int, default=400, help="in the smaller dataset")
    parser.add_argument("--groups", type=int, default=1, help="of 32 clips, in a batch")
    parser.add_argument("--read", type=int, default=CLIPS_READ, help="clips to read and pack")
    options = parser.parse_args(arguments)
    print("   clips    clips/s    peak memory    rows full")
    with tempfile.TemporaryDirectory() as folder:
        for num_clips in (options.clips, 4 * options.clips):
            dataset = pathlib.Path(folder) / f"clips{num_clips}"
            simulated.build(dataset, {"train": num_clips}, FEATURE_SIZE, VOCAB_SIZE, NUM_FRAMES)
            rate, memory, fill = in_new_process(measure, dataset, options.groups, options.read)
            print(f"{num_clips:8,d} {rate:10,.0f} {memory:11,.0f} MB {100 * fill:10.1f}%")


if __name__ == "__main__":
    main()
