"""A small dataset of clips and statements about them, some in pairs and some about no clip."""

import numpy as np

from data.schema import RawClip, RawQuery, RawSubtitle
from tests.data.clip_samples import build

NUM_CLIPS = 7
IDS = "clips/2.0.0/train.ids.json"
SHARD = "{kind}/2.0.0/films-train.tfrecord-00000-of-00001"


def raw_clip(number: int) -> RawClip:
    """1 to 9 frames, and under the first of them 0 to 2 subtitles; a letter of it is a token."""
    rng = np.random.default_rng(number)
    subtitles = tuple(
        RawSubtitle("z" * int(rng.integers(1, 7)), 3.0 * j, 3.0 * j + 2.5)
        for j in range(number % 3)
    )
    features = rng.integers(1, 99, (int(rng.integers(1, 10)), 2)).astype(np.float16)
    return RawClip(f"c{number}", (features,), subtitles)


def raw_statements() -> dict[str, RawQuery]:
    """By id: as many about a clip as its number says, in pairs, of 1 to 7 words.

    The last one or two of a clip are in no pair, and three more are about no clip of the split.
    """
    statements = [
        RawQuery(
            f"s{clip}{k}",
            f"c{clip}",
            "y" * (1 + (clip + 3 * k) % 7),
            ((1.0 * k, 1.0 * k + 4),),
            label=k % 2,
            group="" if k // 2 == (clip - 1) // 2 else f"{clip}/{k // 2}",
        )
        for clip in range(NUM_CLIPS)
        for k in range(clip)
    ]
    lost = [RawQuery(f"lost{k}", name, "x" * (k + 1)) for k, name in enumerate(["", "film", ""])]
    return {query.query_id: query for query in [*statements, *lost]}


def build_films(folder) -> None:
    """Writes the dataset."""
    build(
        folder,
        {"train": [raw_clip(number) for number in range(NUM_CLIPS)]},
        {"train": raw_statements().values()},
        query_type="statement",
    )


def all_are_good(query):
    del query
    return ""


def damage(folder, kind, *records) -> None:
    """Turns a byte of some records of one kind."""
    shard = folder / SHARD.format(kind=kind)
    offsets = np.load(f"{shard}.index.npy")
    with shard.open("r+b") as file:
        for record in records:
            file.seek((offsets[record] + offsets[record + 1]) // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))
