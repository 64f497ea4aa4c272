"""Checks a dataset: `python -m data.validate datasets/tv`.

Reads every record once and prints counts, lengths, what the limits of the configuration would cut,
then warnings (look at these) and errors (fix these). Exits with status 1 if there are errors.
"""

import sys
from collections.abc import Sequence

from data.command import Parser, ends_with_a_sentence
from data.errors import InputError
from data.validate.checks import validate
from data.validate.description import describe


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the report, and exits with status 1 if the dataset has errors."""
    parser = Parser(prog="python -m data.validate", description=__doc__)
    parser.add_argument("dataset", help="its folder")
    for limit, default in (("frames", 100), ("tokens", 60)):
        parser.add_argument(
            f"--max_{limit}",
            type=int,
            default=default,
            help=f"batch.max_{limit} of the configuration; default: %(default)s",
        )
    args = parser.parse_args(arguments)
    with ends_with_a_sentence():
        for limit in ("max_frames", "max_tokens"):
            if getattr(args, limit) < 1:
                raise InputError(f"--{limit} is {getattr(args, limit)}: it has to be at least 1")
        validation = validate(args.dataset)
        print(describe(validation, args.max_frames, args.max_tokens))
    if validation.errors.counts:
        sys.exit(1)


if __name__ == "__main__":
    main()
