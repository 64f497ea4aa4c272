"""Clips and megabytes per second of an import, with one worker and with more.

    python -m benchmarks.imports [--clips=1600] [--workers=1,2]

Writes clips of 50 frames to a temporary folder (0.45 MB per clip): 2,048 and 2,304 float16 features
in one `.npz` each, and subtitles with the lengths of television's. Imports them from the page cache
with `python -m data.build raw`; the time includes the start and the end of that program. Megabytes
are those of the records. The last column is the peak memory of the largest process.
"""

import argparse
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from data.synthetic import tv_lengths
from data.tokenizer import Tokenizer

ROOT = pathlib.Path(__file__).parents[1]
NUM_FRAMES = 50
SECONDS_PER_FEATURE = 1.5
WIDTHS = {"resnet": 2048, "slowfast": 2304}
WORDS = ["red", "blue", "square", "circle"]


def write_source(folder: pathlib.Path, num_clips: int) -> None:
    """Writes features, subtitles and a tokenizer."""
    rng = np.random.default_rng(0)
    for name, width in WIDTHS.items():
        (folder / name).mkdir()
        features = rng.standard_normal((NUM_FRAMES, width)).astype(np.float16)
        for number in range(num_clips):
            rolled = np.roll(features, number, axis=0)
            np.savez(folder / name / f"clip{number}.npz", features=rolled)
    with (folder / "subtitles.jsonl").open("w") as file:
        for number in range(num_clips):
            subtitles = [
                {
                    "text": " ".join(rng.choice(WORDS, words)),
                    "start": first * SECONDS_PER_FEATURE,
                    "end": (first + frames) * SECONDS_PER_FEATURE,
                }
                for first, frames, words in tv_lengths(rng, NUM_FRAMES).subtitles
            ]
            print(json.dumps({"vid_name": f"clip{number}", "sub": subtitles}), file=file)
    Tokenizer.train(WORDS, 280).save(folder / "tokenizer.json")


def measure(folder: pathlib.Path, workers: int) -> tuple[float, float, float]:
    """Returns the seconds, megabytes written and megabytes of peak memory of an import."""
    out = folder / "films"
    shutil.rmtree(out, ignore_errors=True)
    command = [
        *(sys.executable, "-m", "data.build", "raw", f"--out={out}", f"--workers={workers}"),
        *(f"--features={folder / name}" for name in WIDTHS),
        f"--subtitles={folder / 'subtitles.jsonl'}",
        f"--tokenizer={folder}",
        f"--seconds_per_feature={SECONDS_PER_FEATURE}",
        "--clip_seconds=0",
    ]
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    seconds = time.perf_counter() - begun
    written = sum(path.stat().st_size for path in out.rglob("*.tfrecord-?????-of-?????"))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return seconds, written / 1e6, memory / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.imports", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--clips", type=int, default=1600)
    parser.add_argument("--workers", default="1,2")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_source(folder, options.clips)
        print("workers  seconds  clips/s   MB/s  peak MB")
        for workers in map(int, options.workers.split(",")):
            seconds, written, memory = measure(folder, workers)
            print(
                f"{workers:7}  {seconds:7.1f}  {options.clips / seconds:7.0f}  "
                f"{written / seconds:5.0f}  {memory:7.0f}"
            )


if __name__ == "__main__":
    main()
