"""Arguments of `data.build`."""

import argparse
import os
from pathlib import Path
from typing import Any

from data.building.shards import ON_BAD_VIDEO
from data.command import path_argument, seconds_argument
from data.sources.annotations import registry
from data.sources.windows import PUBLISHED_CLIP_SECONDS
from data.tokenizer import HUB


def add_raw(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `data.build raw` alone."""
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
    forms = registry.FORMS.values()
    parser.add_argument(
        "--clip_seconds",
        type=float,
        help="cut videos into clips of this length, 0: do not cut; default: "
        f"{PUBLISHED_CLIP_SECONDS:g} with the forms "
        f"{', '.join(form.name for form in forms if form.whole_video)}, else 0",
    )


def add_original(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `data.build original` alone."""
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
        "--as_captions",
        action="store_true",
        help="queries of --queries_db are captions of their clips, for YC2C and VATEX-EN-C",
    )
    parser.add_argument(
        "--widths",
        type=_widths,
        default=(),
        help="widths of the parts of the stored features, as 2048,2304; default: one part",
    )


def add_splits(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of both: tokenizer, annotations and splits."""
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


def add_building(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of every build."""
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
