"""Compares the results of this project with golden vectors of the original implementation.

    python tests/golden/report.py DIR
    python tests/golden/report.py --host DIR

DIR is told by what it holds: vectors of HERO (with weights.npz beside them), vectors of a variant
of VALUE (with weights.npz in the folder above), two streams (see `tests/golden/two_stream.py`), or
folders of these, all of which are compared.

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
from tests.golden import downstream, pretraining, ranking, two_stream, variants
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


# The same of VALUE's variants.
VARIANT_FILES = {
    "encode": variants.report_encode,
    "vcmr": variants.report_retrieval,
    "video_qa": downstream.report_question_answering,
    "vlep": downstream.report_events,
    "violin": downstream.report_inference,
    "captioning": downstream.report_captioning,
    "video_captioning": variants.report_video_captioning,
}


def report_directory(directory, files):
    """Reports a golden directory, or all in it.

    Args:
      files: names of those to report in directories that hold vectors, None for all.

    Returns:
      True if all of them pass; False too if there are none.
    """
    directory = pathlib.Path(directory)
    if (directory / "meta.json").exists():
        return report_vectors(directory, files)
    if two_stream.is_two_stream(directory):
        return two_stream.report(directory)
    passed = []
    for inside in sorted(path for path in directory.iterdir() if path.is_dir()):
        print(f"{inside}:")
        passed.append(report_directory(inside, files))
    return bool(passed) and all(passed)


def report_vectors(directory, files):
    """Reports some files of a directory of vectors; returns True if all of them pass."""
    report = Report()
    golden = Golden(directory, report)
    known = VARIANT_FILES if golden.value else FILES
    steps = {name: known[name](golden) for name in files or known if name in known}
    if not golden.value and (files is None or "training" in files):
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
        help="comma-separated files to compare, by default all; training needs mlm, mfm, fom and "
        "vsm",
    )
    arguments = parser.parse_args(arguments)
    if arguments.host:
        return report_host(arguments.directory)
    files = arguments.files.split(",") if arguments.files else None
    return report_directory(arguments.directory, files)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
