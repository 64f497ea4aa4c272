"""Compares the results of this project with golden vectors of the original implementation.

    python tests/golden/report.py DIR
    python tests/golden/report.py --host DIR

Prints one line per quantity with its relative error, and exits with status 1 if an error is above
its tolerance or a quantity is missing.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

# The project is not installed, and the folder of this script is not its root.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from data.command import path_argument
from data.records.alignment import align
from data.schema import RawSubtitle
from tests.golden import downstream, pretraining, ranking
from tests.golden.vectors import Golden, Report

# Functions that report a file of a golden directory. Those of pre-training tasks return a
# compiled function of the parameters, as `Golden.differentiate` does.
FILES = {
    "encode": pretraining.report_encode,
    "mlm": pretraining.report_mlm,
    "mfm": pretraining.report_mfm,
    "fom": pretraining.report_fom,
    "vsm": pretraining.report_vsm,
    "video_qa": downstream.report_question_answering,
    "violin": downstream.report_inference,
    "captioning": downstream.report_captioning,
}


def report_directory(directory, files):
    """Reports some files of a golden directory; returns True if all of them pass."""
    report = Report()
    golden = Golden(directory, report)
    steps = {name: FILES[name](golden) for name in files if name in FILES}
    if "training" in files:
        pretraining.report_training(golden, steps)
    return not report.failed


def report_host(directory):
    """Reports `subtitle_alignment.json` and `moment_ranking.json`; returns True if both pass."""
    report = Report()
    directory = pathlib.Path(directory)
    if (directory / "subtitle_alignment.json").exists():
        report_alignment(directory, report)
    else:
        report.absent("subtitle_alignment.json")
    if all((directory / f"moment_ranking.{kind}").exists() for kind in ("json", "npz")):
        ranking.report_ranking(directory, report)
    else:
        report.absent("moment_ranking.json and .npz")
    return not report.failed


def report_alignment(directory, report):
    for number, case in enumerate(json.loads((directory / "subtitle_alignment.json").read_text())):
        expected = np.full(case["num_frames"], -1)
        for j, frames in enumerate(case["frames_of_subtitle"]):
            expected[frames] = j
        subtitles = [RawSubtitle(s["text"], s["start"], s["end"]) for s in case["subtitles"]]
        actual = align(subtitles, case["num_frames"], case["seconds_per_feature"])
        report.add(f"subtitle_alignment[{number}]", expected, actual, 0.0)


def main(arguments=None):
    """Reports the files that the arguments name; returns True if all of them pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=path_argument)
    parser.add_argument("--host", action="store_true", help="a directory laid out like golden/host")
    parser.add_argument(
        "--files",
        default=",".join((*FILES, "training")),
        help="comma-separated files to compare; training needs mlm, mfm, fom and vsm",
    )
    arguments = parser.parse_args(arguments)
    if arguments.host:
        return report_host(arguments.directory)
    return report_directory(arguments.directory, arguments.files.split(","))


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
