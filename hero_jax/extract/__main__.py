"""Turns films into features that `data.build` reads, and finds their subtitles.

python -m hero_jax.extract films/ --networks=efficientnet-lite0 --out=features
python -m hero_jax.extract films/ --networks=resnet_slowfast --weights=auto --out=features
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from data.command import Parser, ends_with_a_sentence, path_argument, seconds_argument, terminable
from data.errors import InputError
from data.report import Report
from data.video.opening import MAX_PIXELS
from data.video.speech import WHISPER_MODEL, speech_model
from hero_jax.cache import keep_compiled
from hero_jax.extract import check, summary
from hero_jax.extract.films import find
from hero_jax.extract.networks import chosen, with_weights
from hero_jax.extract.run import extract_all
from hero_jax.extract.subtitles import choice_of
from hero_jax.extract.work import FAILED, Setup, prepare
from hero_jax.extractors.registry import GROUPS, NETWORKS

STOPPED = "stopped: run the same command again, it continues where it stopped"
DTYPES = ("float32", "bfloat16")
WHISPER = "whisper"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; exits with status 1 unless all films have features."""
    options = _parser().parse_args(arguments)
    with ends_with_a_sentence(STOPPED), terminable():
        keep_compiled()
        _run(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m hero_jax.extract", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "videos",
        nargs="+",
        type=_absolute,
        help="films, folders of films, patterns as 'films/*.mp4', or a .txt file that lists them",
    )
    parser.add_argument(
        "--networks",
        required=True,
        help="networks in the order of the feature vector, separated by commas: "
        f"{', '.join(NETWORKS)}; or {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NETWORK=FILE",
        help="weights of a network, or auto to download what is missing; may be given again",
    )
    parser.add_argument(
        "--seconds_per_feature",
        type=_seconds,
        default=Fraction(3, 2),
        help="as 3/2, 1.5 or 2; default: %(default)s",
    )
    parser.add_argument("--out", type=path_argument, required=True, help="folder to write to")
    _add_reading(parser)
    parser.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="[NETWORK=]PATH",
        help="other features of the same films, to print the cosine of each row; may be given "
        "again",
    )
    parser.add_argument(
        "--beam",
        action="append",
        default=[],
        metavar="OPTION",
        help="an option of Apache Beam, as --beam=--runner=FlinkRunner, to work on a cluster",
    )
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--even_sampling",
        action="store_true",
        help="spread the frames of a clip evenly; such features do not match checkpoints that were "
        "trained on published ones",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default=DTYPES[0],
        help="what networks compute in; default: %(default)s",
    )
    parser.add_argument(
        "--subtitle_language",
        default="",
        metavar="LANGUAGE",
        help="of films with subtitles in several, as en; default: the first",
    )
    parser.add_argument(
        "--subtitles",
        choices=(WHISPER,),
        help="write down what is said in films without subtitles, with faster-whisper",
    )
    parser.add_argument(
        "--whisper_model",
        help=f"name or folder of the model for that; default: {WHISPER_MODEL}",
    )
    parser.add_argument(
        "--max_pixels",
        type=_pixels,
        default=MAX_PIXELS,
        help="pixels of a frame beyond which films are refused; default: %(default)s",
    )


def _absolute(text: str) -> Path:
    """Returns an absolute path, because workers may have other current directories."""
    return path_argument(text).absolute()


def _seconds(text: str) -> Fraction:
    seconds = seconds_argument(text)
    if not Fraction(1, 30) <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1/30 and 3600 seconds")
    return seconds


def _pixels(text: str) -> int:
    try:
        pixels = int(text)
    except ValueError:
        pixels = 0
    if pixels < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pixels, as {MAX_PIXELS}")
    return pixels


def _run(options: argparse.Namespace) -> None:
    """Extracts and prints what became of it; raises InputError if any film failed."""
    names = chosen(options.networks)
    others = check.others_of(names, options.check)
    setup = Setup(
        out=options.out.absolute(),
        networks=with_weights(names, options.weights),
        seconds_per_feature=options.seconds_per_feature,
        even=options.even_sampling,
        dtype=options.dtype,
        max_pixels=options.max_pixels,
        subtitles=choice_of(options),
    )
    report = Report()
    films = find(options.videos, options.subtitle_language, report)
    report.tell("note")
    if setup.subtitles.speech:
        # Each film would otherwise be refused for the same reason.
        speech_model(setup.subtitles.speech, setup.subtitles.language)
    for sentence in filter(None, (prepare(setup), *_doubts(setup))):
        print(f"warning: {sentence}", file=sys.stderr)
    outcomes = extract_all(setup, films, options.beam)
    summary.tell(options.out, setup, outcomes)
    done = [outcome.film.video_id for outcome in outcomes if outcome.state != FAILED]
    for networks, path in others if done else ():
        compared = check.compare(setup.out, networks, path, done)
        for line in check.lines(compared, setup.seconds_per_feature):
            print(line)
    if done:
        print(summary.next_command(options.out, setup, outcomes))
    if len(done) < len(outcomes):
        raise InputError(
            f"{len(outcomes) - len(done)} of {len(outcomes)} films are without features, for the "
            "reasons above: fix or remove them and run the same command again"
        )


def _doubts(setup: Setup) -> Iterator[str]:
    """Yields sentences that say why the features may not match published ones."""
    for extractor in setup.extractors():
        yield from extractor.warnings
    if any(making.even_sampling for making in setup.makings()):
        yield (
            "features with even sampling do not match checkpoints that were trained on published "
            "features"
        )


if __name__ == "__main__":
    main()
