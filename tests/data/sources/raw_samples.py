"""Files of a small source, their import, and readers of what becomes of them."""

import json
from pathlib import Path

import numpy as np

from data import build
from data.records.reader import QuerySplit, Split
from tests.data.clip_samples import TOKENIZER

IDS = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e"]}


class Raw:
    """Files of a source, which a test may change, and their import.

    Clips a to e have 6 frames of 3 and 2 features at 1.5 s and, except for e, one subtitle.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.out = folder / "films"
        self.subtitles = folder / "subtitles.jsonl"
        self.splits = folder / "splits.json"
        self.queries = folder / "queries.jsonl"
        self.features = [folder / "resnet", folder / "slowfast"]
        TOKENIZER.save(folder / "tokenizer.json")
        self.splits.write_text(json.dumps(IDS))
        self.write_lines(self.subtitles, [self.subtitles_of(clip_id) for clip_id in "abcd"])
        self.write_lines(self.queries, [self.query(1, "a"), self.query(2, "d")])
        for features, width in zip(self.features, (3, 2), strict=True):
            features.mkdir()
            for clip_id in "abcde":
                values = np.arange(6 * width).reshape(6, width) + ord(clip_id)
                np.savez(features / f"{clip_id}.npz", features=values.astype(np.float32))

    def subtitles_of(self, clip_id: str) -> dict:
        subtitle = {"text": f"the red square {clip_id}", "start": 1.5, "end": 4}
        return {"vid_name": clip_id, "sub": [subtitle]}

    def query(self, number: int, clip_id: str) -> dict:
        query = {"desc_id": number, "desc": f"red meets blue {number}", "type": "vt"}
        return query | {"vid_name": clip_id, "ts": [2.25, 7], "duration": 9.5}

    def write_lines(self, path: Path, records: list) -> None:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))

    def write_features(self, clip_id: str, num_frames: int, part: int = 0) -> None:
        width = (3, 2)[part]
        values = np.arange(num_frames * width, dtype=np.float32).reshape(num_frames, width)
        np.savez(self.features[part] / f"{clip_id}.npz", features=values)

    def build(
        self, *more: str, form: str = "tvr", splits: bool = True, seconds: str = "1.5"
    ) -> None:
        arguments = [
            "raw",
            f"--subtitles={self.subtitles}",
            *(f"--features={folder}" for folder in self.features),
            f"--form={form}",
            f"--tokenizer={self.folder / 'tokenizer.json'}",
            f"--out={self.out}",
            "--workers=1",
            *([f"--splits={self.splits}"] if splits else []),
            *([f"--seconds_per_feature={seconds}"] if seconds else []),
        ]
        if not any(argument.startswith("--queries") for argument in more):
            arguments.append(f"--queries={self.queries}")
        build.main([*arguments, *more])

    def read(self, split: str) -> dict:
        return read(self.out, split)


def read(dataset: Path, split: str) -> dict:
    records = Split(dataset, split)
    return {clip.clip_id: clip for clip in map(records.read, range(len(records)))}


def read_queries(dataset: Path, split: str) -> dict:
    records = QuerySplit(dataset, split)
    return {query.query_id: query for query in map(records.read, range(len(records)))}


def rows(table: str) -> dict[str, int]:
    """Parses the counts that a build prints, by label."""
    lines = [line.rsplit(maxsplit=1) for line in table.splitlines() if len(line.split()) > 1]
    return {label: int(n.replace(",", "")) for label, n in lines if n.replace(",", "").isdigit()}
