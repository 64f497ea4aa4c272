"""How well written sentences find their moments in the sample corpus.

    python benchmarks/search.py --model=exports/shapes --index=indexes/shapes

Searches the index of the test split for twenty sentences. They are about what the queries of the
corpus are about: what is seen and no subtitle tells, what is only said, or both. Each is true of
one moment in the 150 films, one of them of two. Needs an export and an index of it; docs/search.md
has the commands.
"""

import argparse
import pathlib
import sys
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import numpy as np

from data.times import temporal_iou
from hero_jax.index.index import Index
from hero_jax.inference.model import load
from hero_jax.search.engine import search


class Wanted(NamedTuple):
    """A sentence, and where it is true: number of a film, first and last second."""

    text: str
    places: tuple[tuple[int, float, float], ...]


SENTENCES = (
    Wanted("the yellow oval leaps over the green cross", ((9, 63.28, 65.92),)),
    Wanted("the turquoise triangle comes in from the sky in the snow", ((29, 17.78, 19.80),)),
    Wanted("the turquoise cross flies around the yellow star in the snow", ((39, 49.31, 53.61),)),
    Wanted("the yellow square turns red in the snow", ((49, 55.50, 57.08),)),
    Wanted("the green oval jumps over the turquoise circle in the meadow", ((59, 33.25, 35.97),)),
    Wanted("the pink square jumps over the blue cross in the desert", ((69, 24.78, 27.19),)),
    Wanted("the small orange triangle turns turquoise in the city", ((79, 46.24, 48.91),)),
    Wanted("the yellow oval jumps over the blue square on the beach", ((89, 31.38, 33.68),)),
    Wanted("the blue square flies around the pink circle in the city", ((109, 52.98, 57.38),)),
    Wanted("the orange star comes in from the right on the beach", ((119, 26.73, 29.63),)),
    Wanted("the blue square circles the pink star in the snow", ((129, 28.06, 32.74),)),
    Wanted("the turquoise circle jumps over the orange ring in the city", ((139, 38.88, 41.54),)),
    Wanted(
        "the turquoise square follows the green cross to the right in the desert",
        ((169, 31.72, 34.61),),
    ),
    Wanted("the green star flies around the red oval in the meadow", ((179, 36.90, 41.15),)),
    Wanted("the purple ring wants to go home", ((19, 63.98, 67.42), (1269, 62.79, 64.93))),
    Wanted("the purple circle says to the yellow square that it is late", ((99, 4.77, 7.06),)),
    Wanted("the orange ring feels happy", ((149, 9.50, 11.98),)),
    Wanted("the orange oval feels hungry", ((159, 48.93, 51.09),)),
    Wanted("the purple square wants to build a house", ((189, 36.22, 38.22),)),
    Wanted("Ivo flies around Mia", ((199, 24.44, 28.96),)),
)
TOP = 5
OVERLAP = 0.5  # intersection over union with the moment, from which on it is found


def overlap(found, wanted):
    """The largest intersection over union with a moment that is right, 0 in another film."""
    best = 0.0
    for film, start, end in wanted.places:
        if found.video_id == f"shapes0_{film:05d}":
            moments = np.array([[found.start, found.end], [start, end]])
            best = max(best, float(temporal_iou(*moments)))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="export")
    parser.add_argument("--index", required=True, help="index of the test split")
    options = parser.parse_args()
    model, index = load(options.model), Index(options.index)
    results = search(model, index, [one.text for one in SENTENCES], top=TOP)
    count = 0
    for wanted, found in zip(SENTENCES, results, strict=True):
        overlaps = [overlap(one, wanted) for one in found]
        rank = next((n for n, share in enumerate(overlaps, 1) if share >= OVERLAP), None)
        count += rank is not None
        print(f"{rank or '-':>2}  overlap {max(overlaps):4.2f}  {wanted.text}")
    print(f"{count} of {len(SENTENCES)} in the first {TOP}")


if __name__ == "__main__":
    main()
