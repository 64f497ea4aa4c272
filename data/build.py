"""Builds a dataset: `python -m data.build raw|original|shapes --help`."""

import argparse
import dataclasses
import functools
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

# Read when TensorFlow is imported, which otherwise logs the instruction sets that it uses.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from data.arguments import user_path
from data.building import dataset
from data.building.arguments import add_building, add_original, add_raw, add_splits
from data.building.plan import Building
from data.building.summary import summary
from data.building.workers import STOPPED
from data.command import Parser, ends_with_a_sentence, path_argument
from data.errors import InputError
from data.files import NO_ROOM, writing_to
from data.report import Report
from data.schema import SPLIT_NAMES, DatasetMetadata
from data.shapes.source import ANNOTATORS, ShapesSource
from data.sources.annotations import registry
from data.sources.annotations.base import Annotation
from data.sources.features import FeatureParts
from data.sources.names import with_ids
from data.sources.original.source import open_databases
from data.sources.raw import RawSource, open_source
from data.sources.splits import read_splits
from data.sources.subtitles import open_subtitles
from data.sources.windows import PUBLISHED_CLIP_SECONDS
from data.tokenizer import Tokenizer

Built = tuple[DatasetMetadata, Report]


def build_raw(args: argparse.Namespace, building: Building) -> Built:
    """Imports features, subtitles, and annotations in the form in which they are published."""
    tokenizer = Tokenizer.load(args.tokenizer)
    report = Report()
    query_type, annotations = _read_annotations(args.queries, args.form, report)
    clip_seconds = args.clip_seconds
    if clip_seconds is None:
        whole_video = registry.FORMS[args.form].whole_video
        clip_seconds = PUBLISHED_CLIP_SECONDS if whole_video else 0.0
    features = FeatureParts(args.features, args.feature_name, report)
    ids = features.ids()
    source = open_source(
        features,
        with_ids(open_subtitles(args.subtitles, ids, args.subtitle_encoding, report), ids),
        annotations,
        query_type,
        splits=read_splits([_split_and_path(text) for text in args.splits]),
        shares={"validation": args.validation_share, "test": args.test_share},
        seconds_per_feature=args.seconds_per_feature,
        clip_seconds=clip_seconds,
        report=report,
        source_class=RawSource,
    )
    needs_subtitles = args.subtitles is not None
    return dataset.build_dataset(
        args.out, source, tokenizer, building, args.tokenizer.name, needs_subtitles
    )


def _read_annotations(
    arguments: Iterable[str], form: str, report: Report
) -> tuple[str, list[Annotation]]:
    """Returns the type of all annotations, '' for none, and the annotations with their splits."""
    query_type = ""
    annotations: list[Annotation] = []
    for argument in arguments:
        split, path = _split_and_path(argument)
        file_type, of_file = registry.read_annotations(path, form, report)
        query_type = registry.same_type(query_type, file_type, path)
        for annotation in of_file:
            if split and annotation.split not in ("", split):
                raise InputError(
                    f"{annotation.where} is in {annotation.split}, not in {split}: the file says "
                    f"its splits itself, give it as --queries={path}"
                )
        if split:
            of_file = [dataclasses.replace(annotation, split=split) for annotation in of_file]
        annotations += of_file
    return query_type, annotations


def _split_and_path(text: str) -> tuple[str, Path]:
    """Returns the split and the path of `SPLIT=PATH`, '' and the path of `PATH` alone."""
    name, equals, path = text.partition("=")
    if equals and name in SPLIT_NAMES:
        return SPLIT_NAMES[name], user_path(path)
    if equals and name.isidentifier() and not user_path(text).exists():
        raise InputError(
            f"{name!r} of {text} is no split: name train, validation (or val), test, test_public "
            "or test_private"
        )
    return "", user_path(text)


def build_original(args: argparse.Namespace, building: Building) -> Built:
    """Imports the databases (LMDB) of the original implementation."""
    tokenizer = Tokenizer.load(args.tokenizer)
    report = Report()
    source, tokenizer_name = open_databases(
        args.video_db,
        args.subtitles_db,
        [_split_and_path(text) for text in args.queries_db],
        tokenizer,
        splits=read_splits([_split_and_path(text) for text in args.splits]),
        shares={"validation": args.validation_share, "test": args.test_share},
        widths=args.widths,
        seconds_per_feature=args.seconds_per_feature,
        as_captions=args.as_captions,
        added=_read_annotations(args.queries, args.form, report),
        report=report,
    )
    name, needs_subtitles = tokenizer_name or args.tokenizer.name, args.subtitles_db is not None
    return dataset.build_dataset(args.out, source, tokenizer, building, name, needs_subtitles)


def build_shapes(args: argparse.Namespace, building: Building) -> Built:
    """Generates the sample corpus."""
    source = ShapesSource(args.seed, args.num_clips, args.queries)
    tokenizer = Tokenizer.load(args.tokenizer) if args.tokenizer else source.tokenizer()
    return dataset.build_dataset(args.out, source, tokenizer, building, "shapes")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m data.build", description=__doc__)
    sources = parser.add_subparsers(required=True, metavar="raw|original|shapes")
    # An abbreviated flag may be a misspelt other one.
    add_parser = functools.partial(sources.add_parser, allow_abbrev=False)
    from_files = add_parser("raw", description=build_raw.__doc__, help="files")
    from_files.set_defaults(build=build_raw)
    add_raw(from_files)
    original = add_parser(
        "original", description=build_original.__doc__, help="the original's LMDBs"
    )
    original.set_defaults(build=build_original)
    add_original(original)
    shapes = add_parser("shapes", description=build_shapes.__doc__, help="the sample corpus")
    shapes.set_defaults(build=build_shapes)
    _add_shapes(shapes)
    for imported in (from_files, original):
        add_splits(imported)
    for source in (from_files, original, shapes):
        add_building(source)
    return parser


def _add_shapes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num_clips", type=int, default=1500, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--queries",
        choices=ANNOTATORS,
        default="",
        help="annotations to make for every film: of a type, or events that can follow (questions "
        "like VLEP's), or captions of whole films; default: none",
    )
    parser.add_argument(
        "--tokenizer",
        type=path_argument,
        help="tokenizer.json or folder of another dataset, so that a model of one reads the other; "
        "default: a tokenizer trained on the subtitles of split train",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds the dataset that the arguments describe and prints a summary."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    advice = "make room and run the command again"
    with ends_with_a_sentence(STOPPED), writing_to(args.out, advice, NO_ROOM):
        dataset.check_target(args.out, args.overwrite)
        building = Building(
            workers=args.workers,
            beam_options=args.beam,
            num_shards=args.num_shards,
            on_bad_video=args.on_bad_video,
            overwrite=args.overwrite,
        )
        metadata, report = args.build(args, building)
        print(summary(metadata, report))
        print(f"dataset {args.out}: one frame per {metadata.seconds_per_feature:g} s")


if __name__ == "__main__":
    main()
