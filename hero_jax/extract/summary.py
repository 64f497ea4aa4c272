"""Summary that extraction prints at its end."""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hero_jax.extract import subtitles
from hero_jax.extract.work import FAILED, KEPT, MADE, Outcome, Setup

# Name of a tokenizer, for the dataset.
TOKENIZER = "roberta-base"


def tell(out: Path, setup: Setup, outcomes: Sequence[Outcome]) -> None:
    """Prints what became of all films: counts to stdout, warnings and failures to stderr.

    Args:
      out: the folder, as the user calls it.
    """
    for outcome in outcomes:
        for sentence in outcome.warnings:
            print(f"warning: {sentence}", file=sys.stderr)
    for outcome in outcomes:
        if outcome.state == FAILED:
            print(f"failed: {outcome.reason}", file=sys.stderr)
    sys.stderr.flush()
    done = [outcome for outcome in outcomes if outcome.state != FAILED]
    states = Counter(outcome.state for outcome in outcomes)
    names = [name for name, _ in setup.networks]
    rows = sum(outcome.rows for outcome in done)
    print(
        f"{out}: {states[MADE]} films done, {states[KEPT]} were finished before, "
        f"{states[FAILED]} failed; {rows:,} rows of {' and '.join(names)}, one every "
        f"{setup.seconds_per_feature} s"
    )
    for place, name in enumerate(names):
        cuts = [outcome.cut[place] for outcome in done]
        if films := sum(cut > 0 for cut in cuts):
            print(f"{sum(cuts)} rows of {name}, in {films} films, cut: other networks have fewer")
    sources = Counter(outcome.subtitles for outcome in done)
    found = [
        f"{sources[source]} from {source}"
        for source in (subtitles.BESIDE, subtitles.TRACKS, subtitles.SPEECH)
    ]
    print(f"subtitles: {', '.join(found)}; {sources[subtitles.NONE]} films without")


def next_command(out: Path, setup: Setup, outcomes: Sequence[Outcome]) -> str:
    """Returns the command that makes a dataset of the features."""
    command = ["python", "-m", "data.build", "raw"]
    command += [f"--features={out / name}" for name, _ in setup.networks]
    if any(outcome.subtitles != subtitles.NONE for outcome in outcomes):
        command.append(f"--subtitles={out / subtitles.FOLDER}")
    command += [
        f"--seconds_per_feature={setup.seconds_per_feature}",
        f"--tokenizer={TOKENIZER}",
        f"--out={os.path.join('datasets', out.absolute().name)}",
    ]
    return f"next: {shlex.join(command)}"
