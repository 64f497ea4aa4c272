"""Shows a clip of a dataset: `python -m data.show datasets/tv --clip=ID`.

Prints the subtitles and the queries with their times, and draws them below the clip's frames.
"""

import re
from collections.abc import Sequence

from data.command import Parser, ends_with_a_sentence
from data.show.describe import describe
from data.show.picture import draw
from data.show.shown import find


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a clip and draws it."""
    parser = Parser(prog="python -m data.show", description=__doc__)
    parser.add_argument("dataset", help="folder of the dataset")
    parser.add_argument("--clip", required=True, help="id of the clip")
    parser.add_argument(
        "--split", default="", help="split of the clip; by default all are searched"
    )
    parser.add_argument("--out", help="PNG file to write; by default the clip's id with .png")
    args = parser.parse_args(arguments)
    # A file name must not begin with a dot or dash, or have characters that separate folders.
    out = args.out or re.sub(r"^[.-]|[^\w.-]", "_", args.clip)[:200] + ".png"
    with ends_with_a_sentence():
        shown = find(args.dataset, args.clip, args.split)
        print(describe(shown))
        draw(shown, out)
        print(f"\ndrawn to {out}")


if __name__ == "__main__":
    main()
