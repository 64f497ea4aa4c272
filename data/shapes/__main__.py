"""Shows a film of the sample corpus, or writes films as videos: `python -m data.shapes --help`."""

import argparse
from collections.abc import Sequence

from data.arguments import whole
from data.command import Parser, ends_with_a_sentence, path_argument
from data.files import writing_to


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a contact sheet of a film as PNG and prints its story, or writes films as videos."""
    parser = Parser(prog="python -m data.shapes", description=main.__doc__)
    outputs = parser.add_mutually_exclusive_group(required=True)
    outputs.add_argument("--out", type=path_argument, help="PNG file to write")
    outputs.add_argument(
        "--videos", type=path_argument, help="folder to write ID.mp4 and ID.srt of films into"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--clip", type=int, default=0, help="number of the film, or of the first; default: 0"
    )
    parser.add_argument("--num", type=int, default=20, help="of --videos; default: %(default)s")
    parser.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        help="of --videos: the films of one split alone; default: all",
    )
    options = parser.parse_args(arguments)
    if options.out and (options.split or options.num != parser.get_default("num")):
        parser.error("--num and --split are about --videos, --out is a picture of one film")
    with ends_with_a_sentence("interrupted: what is complete is kept, run the command again"):
        (_write_videos if options.videos else _write_picture)(options)


def _write_picture(options: argparse.Namespace) -> None:
    from data.shapes.sheet import contact_sheet, outline
    from data.shapes.source import SECONDS_PER_FEATURE, film

    number = whole(options.clip, "clip", least=0)
    with writing_to(options.out, "name another --out"):
        clip = film(options.seed, number)
        contact_sheet(clip, SECONDS_PER_FEATURE).save(options.out, "PNG")
        print(outline(clip))


def _write_videos(options: argparse.Namespace) -> None:
    # Needs PyAV, which nothing else of the sample corpus does.
    from data.shapes.videos import film_numbers, write_films

    numbers = film_numbers(options.clip, options.num, options.split)
    written, kept = write_films(options.videos, options.seed, numbers)
    there = f", {kept} were there" if kept else ""
    print(f"{options.videos}: {written} films written{there}")


if __name__ == "__main__":
    main()
