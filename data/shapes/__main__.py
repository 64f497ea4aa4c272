"""Shows a film of the sample corpus: `python -m data.shapes --help`."""

from collections.abc import Sequence

from data.command import Parser, ends_with_a_sentence
from data.files import writing_to
from data.shapes.sheet import contact_sheet, outline
from data.shapes.source import SECONDS_PER_FEATURE, film


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a contact sheet of a film as PNG and prints its story."""
    parser = Parser(prog="python -m data.shapes", description=main.__doc__)
    parser.add_argument("--clip", type=int, default=0, help="number of the film")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, help="PNG file to write")
    options = parser.parse_args(arguments)
    with ends_with_a_sentence(), writing_to(options.out, "name another --out"):
        clip = film(options.seed, options.clip)
        contact_sheet(clip, SECONDS_PER_FEATURE).save(options.out)
        print(outline(clip))


if __name__ == "__main__":
    main()
