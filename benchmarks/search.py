"""How well written sentences find their moments in the sample corpus.

    python benchmarks/search.py --model=exports/shapes --index=indexes/shapes

Searches the index of the test split for twenty sentences, each about a moment of another film that
is seen, told by a subtitle, or only said. They were written from what happens in the films, before
any was searched for. Needs an export and an index of it; docs/search.md has the commands.
"""

import argparse
import pathlib
import sys
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from hero_jax import inference


class Wanted(NamedTuple):
    """A sentence, the number of its film, and the moment there (seconds)."""

    text: str
    film: int
    start: float
    end: float


SEEN = (
    "seen alone",
    (
        Wanted("the yellow oval leaps over the green cross", 9, 63.28, 65.92),
        Wanted("the turquoise triangle comes in from the sky in the snow", 29, 17.78, 19.80),
        Wanted("the turquoise cross flies around the yellow star in the snow", 39, 49.31, 53.61),
        Wanted("the green oval jumps over the turquoise circle in the meadow", 59, 33.25, 35.97),
        Wanted("the small orange triangle turns turquoise in the city", 79, 46.24, 48.91),
        Wanted("the yellow oval jumps over the blue square on the beach", 89, 31.38, 33.68),
        Wanted("the blue square flies around the pink circle in the city", 109, 52.98, 57.38),
        Wanted("the blue square circles the pink star in the snow", 129, 28.06, 32.74),
        Wanted("the green star flies around the red oval in the meadow", 179, 36.90, 41.15),
    ),
)
TOLD = (
    "seen and told",
    (
        Wanted("the pink triangle and the turquoise ring meet in the snow", 49, 41.38, 44.55),
        Wanted("the yellow triangle leaves to the sky in the desert", 69, 33.00, 35.16),
        Wanted("the purple star circles the turquoise ring on the beach", 119, 56.56, 61.38),
        Wanted("the orange ring flies around the blue cross", 139, 26.57, 30.30),
        Wanted("the green cross leaves to the sky in the desert", 149, 29.39, 31.73),
        Wanted("the orange triangle enters from the right in the desert", 169, 51.38, 53.59),
        Wanted("the red square jumps over the blue star on the beach", 199, 9.98, 12.97),
    ),
)
SAID = (
    "said alone",
    (
        Wanted("the purple ring wants to go home", 19, 63.98, 67.42),
        Wanted("the purple circle says to the yellow square that it is late", 99, 4.77, 7.06),
        Wanted("the orange oval feels hungry", 159, 48.93, 51.09),
        Wanted("the purple square wants to build a house", 189, 36.22, 38.22),
    ),
)
TOP = 5
OVERLAP = 0.5  # intersection over union with the moment, from which on it is found


def overlap(found, wanted):
    """Intersection over union, 0 in another film."""
    if found.video_id != f"shapes0_{wanted.film:05d}":
        return 0.0
    shared = min(found.end, wanted.end) - max(found.start, wanted.start)
    return max(shared, 0) / (max(found.end, wanted.end) - min(found.start, wanted.start))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="export")
    parser.add_argument("--index", required=True, help="index of the test split")
    options = parser.parse_args()
    model, index = inference.load(options.model), inference.Index(options.index)
    total = 0
    for kind, sentences in (SEEN, TOLD, SAID):
        results = inference.search(model, index, [one.text for one in sentences], top=TOP)
        ranks = []
        for wanted, found in zip(sentences, results, strict=True):
            overlaps = [overlap(one, wanted) for one in found]
            ranks.append(next((n for n, x in enumerate(overlaps, 1) if x >= OVERLAP), None))
            print(f"{ranks[-1] or '-':>2}  overlap {max(overlaps):4.2f}  {wanted.text}")
        count = sum(rank is not None for rank in ranks)
        print(f"{kind}: {count} of {len(ranks)} in the first {TOP}\n")
        total += count
    print(f"all: {total} of {sum(len(one) for _, one in (SEEN, TOLD, SAID))} in the first {TOP}")


if __name__ == "__main__":
    main()
