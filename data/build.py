"""Builds a dataset: `python -m data.build raw|original|shapes --help`."""

import argparse
import dataclasses
import functools
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

# Read when TensorFlow is imported, which otherwise logs the instruction sets that it uses.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from data.arguments import user_path
from data.building import dataset
from data.building.plan import Building
from data.building.shards import ON_BAD_VIDEO
from data.building.summary import summary
from data.building.workers import STOPPED
from data.command import Parser, ends_with_a_sentence, path_argument, seconds_argument
from data.errors import InputError
from data.files import NO_ROOM, writing_to
from data.report import Report
from data.schema import QUERY_TYPES, SPLIT_NAMES, DatasetMetadata
from data.sources.annotations import registry
from data.sources.annotations.base import Annotation
from data.sources.features import FeatureParts
from data.sources.names import with_ids
from data.sources.original.source import open_databases
from data.sources.raw import RawSource, open_source
from data.sources.splits import read_splits
from data.sources.subtitles import open_subtitles
from data.sources.windows import PUBLISHED_CLIP_SECONDS
from data.tokenizer import HUB, Tokenizer

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
    if equals and name.isalpha() and not user_path(text).exists():
        raise InputError(f"{name!r} of {text} is no split: name train, validation (or val) or test")
    return "", user_path(text)


def build_original(args: argparse.Namespace, building: Building) -> Built:
    """Imports the databases (LMDB) of the original implementation."""
    tokenizer = Tokenizer.load(args.tokenizer)
    source, tokenizer_name = open_databases(
        args.video_db,
        args.subtitles_db,
        [_split_and_path(text) for text in args.queries_db],
        tokenizer,
        splits=read_splits([_split_and_path(text) for text in args.splits]),
        shares={"validation": args.validation_share, "test": args.test_share},
        widths=args.widths,
        seconds_per_feature=args.seconds_per_feature,
    )
    name, needs_subtitles = tokenizer_name or args.tokenizer.name, args.subtitles_db is not None
    return dataset.build_dataset(args.out, source, tokenizer, building, name, needs_subtitles)


def build_shapes(args: argparse.Namespace, building: Building) -> Built:
    """Generates the sample corpus."""
    from data.shapes.source import ShapesSource

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
    _add_raw(from_files)
    original = add_parser(
        "original", description=build_original.__doc__, help="the original's LMDBs"
    )
    original.set_defaults(build=build_original)
    _add_original(original)
    shapes = add_parser("shapes", description=build_shapes.__doc__, help="the sample corpus")
    shapes.set_defaults(build=build_shapes)
    _add_shapes(shapes)
    for imported in (from_files, original):
        _add_splits(imported)
    for source in (from_files, original, shapes):
        _add_building(source)
    return parser


def _add_raw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--features",
        type=_absolute,
        required=True,
        action="append",
        help="folder of ID.npz, .npy, .h5 or .pt, or one .h5 of all; once for each network, in the "
        "order of the feature vector",
    )
    parser.add_argument(
        "--feature_name",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names of the files of features without the extension, as {id}_clip where other files "
        "lie beside them; once, or once for each --features; default: {id}",
    )
    parser.add_argument(
        "--subtitles",
        action=_Once,
        type=_absolute,
        help="folder of ID.srt, .vtt, .csv, .ass or other formats, or JSON lines of all",
    )
    parser.add_argument(
        "--subtitle_encoding", action=_Once, help="of those not in UTF-8; default: it is detected"
    )
    parser.add_argument(
        "--queries",
        action="append",
        default=[],
        metavar="[SPLIT=]FILE",
        help="annotations; may be given again; with SPLIT if all of the file is of one split",
    )
    forms = registry.FORMS.values()
    described = "; ".join(f"{form.name}: {form.help}" for form in forms)
    parser.add_argument(
        "--form",
        choices=list(registry.FORMS),
        default="plain",
        help=f"form of the annotations; default: %(default)s. {described}",
    )
    parser.add_argument(
        "--clip_seconds",
        type=float,
        help="cut videos into clips of this length, 0: do not cut; default: "
        f"{PUBLISHED_CLIP_SECONDS:g} with the forms "
        f"{', '.join(form.name for form in forms if form.whole_video)}, else 0",
    )


def _add_original(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--video_db",
        action=_Once,
        type=_absolute,
        required=True,
        help="folder with data.mdb, compressed or not",
    )
    parser.add_argument(
        "--subtitles_db", action=_Once, type=_absolute, help="folder with data.mdb and meta.json"
    )
    parser.add_argument(
        "--queries_db",
        action="append",
        default=[],
        metavar="[SPLIT=]DIR",
        help="queries, questions, statements, or captions (with cap.db); may be given again",
    )
    parser.add_argument(
        "--widths",
        type=_widths,
        default=(),
        help="widths of the parts of the stored features, as 2048,2304; default: one part",
    )


def _add_shapes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num_clips", type=int, default=1500, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--queries",
        choices=QUERY_TYPES,
        default="",
        help="type of the annotations to make for every film; default: none",
    )
    parser.add_argument(
        "--tokenizer",
        type=path_argument,
        help="tokenizer.json or folder of another dataset, so that a model of one reads the other; "
        "default: a tokenizer trained on the subtitles of split train",
    )


class _Once(argparse.Action):
    """Stores a value, and refuses a second one, which argparse would silently take instead."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice")
        setattr(namespace, self.dest, values)


def _absolute(text: str) -> Path:
    """Returns an absolute path, because workers may have other current directories."""
    return path_argument(text).absolute()


def _widths(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(width) for width in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers, as 2048,2304") from error
    if min(widths) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} has a number below 1")
    return widths


def _add_splits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer",
        action=_Once,
        type=path_argument,
        required=True,
        help=f"file or its folder; or a name, which is fetched once: {', '.join(HUB)}",
    )
    parser.add_argument(
        "--seconds_per_feature",
        type=lambda text: float(seconds_argument(text)),
        help="of a frame, as 3/2 or 1.5; default: as features, databases or annotations say",
    )
    parser.add_argument(
        "--splits",
        action="append",
        default=[],
        metavar="[SPLIT=]FILE",
        help='JSON {"train": [ID, ...], ...}, or with SPLIT a list; default: the splits of the '
        "annotations or, if they have none, random splits",
    )
    parser.add_argument(
        "--validation_share", type=float, default=0.1, help="of random splits; default: %(default)s"
    )
    parser.add_argument(
        "--test_share", type=float, default=0.0, help="of random splits; default: %(default)s"
    )


def _add_building(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        action=_Once,
        type=path_argument,
        required=True,
        help="folder of the dataset, which gives it its name",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset in --out")
    parser.add_argument(
        "--on_bad_video", choices=ON_BAD_VIDEO, default="error", help="default: %(default)s"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes; default: %(default)s"
    )
    parser.add_argument(
        "--num_shards", type=int, default=0, help="per split; default: by the size of the clips"
    )
    parser.add_argument(
        "--beam",
        action="append",
        default=[],
        metavar="OPTION",
        help="an option of Apache Beam, as --beam=--runner=FlinkRunner, in place of --workers",
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
