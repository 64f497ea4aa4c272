"""Compares decoded frames, the sampling of rows and networks with vectors of the original tools.

    python tests/golden/extractors.py --sampling sampling.json
    python tests/golden/extractors.py --frames frames.json VIDEO_DIR
    python tests/golden/extractors.py --networks networks.npz --names names.json

Prints one line per case, and exits with status 1 if one differs or is missing.
"""

import argparse
import hashlib
import json
import pathlib
import sys
from fractions import Fraction
from typing import NamedTuple

import numpy as np

# The project is not installed, and the folder of this script is not its root.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from data.command import path_argument
from data.errors import InputError
from data.video import sampling
from data.video.decoding import Video
from tests.golden import extractor_networks

# Mean colours are given to four decimals.
COLOUR_TOLERANCE = 1e-4


class Report:
    """Prints a line for each case; `failed` tells whether one was wrong."""

    failed = False

    def add(self, name, wrong):
        """Reports a case and what is wrong with it, nothing if it is right."""
        self.failed |= bool(wrong)
        print(f"WRONG {name}: {', '.join(wrong)}" if wrong else f"ok    {name}")


class Every(NamedTuple):
    """Sampling of one frame a row at a rate that does not depend on the film."""

    per_second: Fraction
    crop: bool

    def rate(self, film):
        return self.per_second

    def picture(self, film):
        return sampling.short_side(film.width, film.height, self.crop)

    def rows(self, film):
        return sampling.FrameSampling(1 / self.per_second, self.crop).rows(film)

    def warnings(self, film):
        return []


# Samplings by what follows the film's name in `frames.json`.
SAMPLINGS = {
    "2d": Every(Fraction(2, 3), False),
    "2d_crop": Every(Fraction(2, 3), True),
    "2d_2s": Every(Fraction(1, 2), False),
    "3d": Every(Fraction(30), True),
}


class FrameSampling:
    """Facts about frames that come one by one."""

    def __init__(self):
        self.count, self.shape, self.hash = 0, None, hashlib.sha256()
        self.first = self.last = None

    def add(self, frame):
        self.count, self.shape, self.last = self.count + 1, frame.shape[:2], frame
        self.first = frame if self.first is None else self.first
        self.hash.update(frame.tobytes())

    def wrong(self, expected):
        """Returns what differs from a case of `frames.json`."""
        facts = {
            "frames": self.count == expected["frames"],
            "size": self.shape == (expected["height"], expected["width"]),
            "sha256": self.hash.hexdigest() == expected["sha256"],
        }
        for name, frame in (("first", self.first), ("last", self.last)):
            colour = expected[f"mean_rgb_{name}"]
            facts[f"mean_rgb_{name}"] = frame is not None and np.allclose(
                frame.mean((0, 1)), colour, rtol=0, atol=COLOUR_TOLERANCE
            )
        return [name for name, is_right in facts.items() if not is_right]


def report_sampling(file, report):
    """Reports the clips of each case of `sampling.json`."""
    for number, case in enumerate(json.loads(file.read_text())):
        clips = sampling.ClipSampling(Fraction(case["seconds_per_feature"]))
        rate, frames, duration = case["source_fps"], case["frames_at_30fps"], case["duration"]
        count = sampling.num_clips(clips.seconds_per_feature, frames, duration)
        indices = sampling.clip_indices(clips, range(count), frames, rate)
        digest = hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()
        facts = {
            "clips": count == case["clips"],
            "first": indices[:1].tolist() == [case["first"]],
            "last": indices[-1:].tolist() == [case["last"]],
            "sha256": digest == case["sha256"],
        }
        name = f"sampling[{number}] {clips.seconds_per_feature} s, {rate}/s, {frames} frames"
        report.add(
            f"{name}, {duration} s", [fact for fact, is_right in facts.items() if not is_right]
        )


def report_frames(file, folder, report):
    """Reports the frames of each film and sampling of `frames.json`, decoding each film once."""
    cases = {}
    for name, case in json.loads(file.read_text()).items():
        film, _, kind = name.rpartition("/")
        cases.setdefault(film, {})[kind] = case
    for film, kinds in cases.items():
        found = {kind: FrameSampling() for kind in kinds if kind in SAMPLINGS}
        problem = []
        try:
            with Video(folder / film) as video:
                for number, frame in video.rows([SAMPLINGS[kind] for kind in found]):
                    [*found.values()][number].add(frame)
        except InputError as error:
            problem = [str(error)]
        for kind, case in kinds.items():
            wrong = found[kind].wrong(case) if kind in found else ["a sampling that is not known"]
            report.add(f"{film}/{kind}", problem or wrong)


def main(arguments=None):
    """Reports the files that the arguments name; returns True if all of them pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sampling", type=path_argument, help="a file as sampling.json")
    parser.add_argument("--frames", type=path_argument, help="a file as frames.json")
    parser.add_argument("--networks", type=path_argument, help="a file as networks.npz")
    parser.add_argument("--names", type=path_argument, help="a file as names.json")
    parser.add_argument("videos", type=path_argument, nargs="?", help="the folder of the films")
    arguments = parser.parse_args(arguments)
    if arguments.frames and not arguments.videos:
        parser.error("--frames needs the folder of the films")
    files = arguments.frames, arguments.sampling, arguments.networks, arguments.names
    if not any(files):
        parser.error("name a file to compare with")
    report = Report()
    if arguments.sampling:
        report_sampling(arguments.sampling, report)
    if arguments.frames:
        report_frames(arguments.frames, arguments.videos, report)
    if arguments.networks:
        extractor_networks.report_networks(arguments.networks, report)
    if arguments.names:
        extractor_networks.report_names(json.loads(arguments.names.read_text()), report)
    return not report.failed


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
