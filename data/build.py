"""Builds a dataset: `python -m data.build raw --help`, `python -m data.build shapes --help`."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Read when TensorFlow is imported, which otherwise reports on the instruction sets that it uses.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from data import builders
from data.errors import InputError
from data.progress import progress
from data.raw import RawSource
from data.schema import DatasetMetadata
from data.tokenizer import Tokenizer, normalise_subtitle


def build_raw(args: argparse.Namespace) -> DatasetMetadata:
    """Imports subtitles, features, splits and queries in the raw layout (see `data.raw`)."""
    tokenizer = Tokenizer.load(args.tokenizer)
    source = RawSource(
        args.subtitles, args.features, args.splits, args.queries, args.seconds_per_feature
    )
    return builders.build_dataset(
        args.out,
        {
            split: progress(source.clips(split), f"clips of {split}", len(ids))
            for split, ids in source.clip_ids.items()
        },
        source.queries,
        tokenizer=tokenizer,
        seconds_per_feature=args.seconds_per_feature,
        left_out=source.left_out,
        overwrite=args.overwrite,
    )


def build_shapes(args: argparse.Namespace) -> DatasetMetadata:
    """Generates the sample corpus; its tokenizer is trained on the subtitles of split train."""
    from data import shapes

    if args.num_clips < 1:
        raise InputError(f"--num_clips is {args.num_clips}: it has to be at least 1")
    films = progress(shapes.films(args.seed, args.num_clips), "films", args.num_clips)
    clips = {}
    for index, film in enumerate(films):
        clips.setdefault(shapes.split_of(index, args.num_clips), []).append(film)
    texts = [
        normalise_subtitle(subtitle.text) for film in clips["train"] for subtitle in film.subtitles
    ]
    return builders.build_dataset(
        args.out,
        clips,
        {},
        tokenizer=Tokenizer.train(texts, shapes.VOCABULARY_SIZE),
        seconds_per_feature=shapes.SECONDS_PER_FEATURE,
        left_out={},
        overwrite=args.overwrite,
    )


def summary(metadata: DatasetMetadata) -> str:
    """What is in the dataset and what was left out of it, as a small table."""
    rows = [(f"clips in {split}", n) for split, n in metadata.clips.items()]
    rows += [(f"queries in {split}", n) for split, n in metadata.queries.items()]
    rows += metadata.totals.items()
    rows += metadata.left_out.items()
    if not metadata.left_out:
        rows += [("skipped or cut", 0)]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {count:>10,}" for label, count in rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data.build", description=__doc__)
    sources = parser.add_subparsers(required=True, metavar="raw|shapes")

    raw = sources.add_parser("raw", description=build_raw.__doc__, help="the raw layout")
    raw.set_defaults(build=build_raw)
    raw.add_argument("--subtitles", type=Path, required=True, help="JSON lines, one per clip")
    raw.add_argument(
        "--features",
        type=Path,
        required=True,
        action="append",
        help="folder of ID.npz; once for each network, in the order of the feature vector",
    )
    raw.add_argument("--splits", type=Path, required=True, help="JSON; val becomes validation")
    raw.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json or its folder")
    raw.add_argument("--seconds_per_feature", type=float, default=1.5, help="default: %(default)s")
    raw.add_argument(
        "--queries", type=Path, action="append", default=[], help="JSON lines; may be given again"
    )

    shapes = sources.add_parser("shapes", description=build_shapes.__doc__, help="the sample")
    shapes.set_defaults(build=build_shapes)
    shapes.add_argument("--num_clips", type=int, default=1500, help="default: %(default)s")
    shapes.add_argument("--seed", type=int, default=0, help="default: %(default)s")

    for source in (raw, shapes):
        source.add_argument(
            "--out", type=Path, required=True, help="folder of the dataset, named like it"
        )
        source.add_argument("--overwrite", action="store_true", help="replace the dataset in --out")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds what the arguments say and prints what came of it."""
    args = _parser().parse_args(arguments)
    try:
        builders.check_target(args.out, args.overwrite)
        metadata = args.build(args)
    except InputError as error:
        sys.exit(f"error: {error}")
    except Exception as error:  # Every library has its own for a full disk.
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        sys.exit(f"error: the disk of {args.out} is full: make room and run the command again")
    print(summary(metadata))
    print(f"dataset {args.out}: one frame per {metadata.seconds_per_feature} s")


if __name__ == "__main__":
    main()
