"""Datasets to validate, changed records, and checks of the printed report."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from data.records import codec, tfrecord
from data.records.reader import QuerySplit, Split
from data.schema import RawQuery, RawSubtitle, records_dir
from data.validate import validate
from data.validate.__main__ import main
from tests.data.raw_samples import raw_clip

ANSWERS = ("red", "blue")


def clip(index: int, token_counts: tuple[int, int], num_frames: int = 8):
    """Makes a `raw_clip` with two subtitles of these numbers of tokens."""
    subtitles = (
        RawSubtitle("the red square", 0.2, 4.1, (10,) * token_counts[0]),
        RawSubtitle("the blue circle", 6.0, 8.75, (11,) * token_counts[1]),
    )
    return raw_clip(index, num_frames=num_frames, subtitles=subtitles)


def question(index, clip_id, moments, num_tokens, label) -> RawQuery:
    return RawQuery(
        *(f"q{index}", clip_id, "which colour?", moments),
        answers=ANSWERS,
        label=label,
        token_ids=(12,) * num_tokens,
    )


def shard_of(dataset: Path, kind: str, split: str) -> Path:
    (shard,) = records_dir(dataset, kind).glob(f"*-{split}.tfrecord-?????-of-?????")
    return shard


def change(dataset: Path, identifier: str, **fields) -> None:
    """Writes a clip or query anew, with other fields; they may be functions of the record."""
    for kind, reader, encode, id_field in (
        ("clips", Split, codec.encode_clip, "clip_id"),
        ("queries", QuerySplit, codec.encode_query, "query_id"),
    ):
        for split in ("train", "validation", "test"):
            if not list(records_dir(dataset, kind).glob(f"*-{split}.tfrecord-*")):
                continue
            split_records = reader(dataset, split)
            found = [split_records.read(number) for number in range(len(split_records))]
            for index, record in enumerate(found):
                if getattr(record, id_field) == identifier:
                    new = {k: v(record) if callable(v) else v for k, v in fields.items()}
                    found[index] = dataclasses.replace(record, **new)
                    content = [tfrecord.record(codec.serialise(encode(r))) for r in found]
                    shard_of(dataset, kind, split).write_bytes(b"".join(content))
                    return
    raise KeyError(identifier)


def features(dataset: Path, split: str, clip_id: str) -> np.ndarray:
    clips = Split(dataset, split)
    found = {c.clip_id: c for c in map(clips.read, range(len(clips)))}
    return found[clip_id].frame_features


def check(dataset: Path, capsys, errors: dict | None = None, warnings: dict | None = None) -> str:
    """That exactly these faults are counted and printed, and the exit status; the output."""
    errors, warnings = errors or {}, warnings or {}
    found = validate(dataset)
    assert found.errors.counts == errors
    assert found.warnings.counts == warnings
    capsys.readouterr()
    if errors:
        with pytest.raises(SystemExit) as exit_:
            main([str(dataset)])
        assert exit_.value.code == 1
    else:
        main([str(dataset)])
    output = capsys.readouterr().out
    printed = output[output.index("\nWarnings: ") :].partition("\nErrors: ")
    for part, faults in ((printed[0], warnings), (printed[2], errors)):
        lines = re.findall(r"^ +([\d,]+)  (\S.*)$", part, re.MULTILINE)
        assert {what: int(count) for count, what in lines} == faults
    return output


def rows_of(output: str) -> dict[str, list[str]]:
    """Parses the cells of the tables' rows, by the first cell."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in output.splitlines() if line]
    return {row[0]: row[1:] for row in rows}
