"""`python -m data.build original`: databases in, the same records out as from files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from data import build
from data.records.reader import QuerySplit, Split
from tests.data.clip_samples import TOKENIZER
from tests.data.sources.original.original_samples import (
    msgpack_value,
    npz_value,
    subtitle_value,
    write_lmdb,
    write_texts,
)

SHARED = os.environ.get("HERO_SHARED")


def records(dataset: Path) -> dict[str, bytes]:
    """The shards, by their names without the dataset's."""
    return {
        f"{path.parts[-3]} {path.name.split('-', 1)[1]}": path.read_bytes()
        for path in dataset.rglob("*.tfrecord-?????-of-?????")
    }


@pytest.mark.shared
def test_databases_give_the_records_that_their_files_give(tmp_path):
    layout, files = Path(SHARED) / "official_layout", Path(SHARED) / "tvr_text"
    stored = layout / "video_db" / "tv" / "resnet_slowfast_1.5"
    ids = json.loads((layout / "video_db" / "tv" / "id2nframe.json").read_text())
    splits = {
        split: [clip_id for clip_id in of_split if clip_id in ids]
        for split, of_split in json.loads((files / "splits.json").read_text()).items()
    }
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    compressed = tmp_path / "resnet_slowfast_1.5_compressed"
    folders = [files / "features" / name for name in ("resnet", "slowfast")]
    parts = {i: [np.load(folder / f"{i}.npz")["features"] for folder in folders] for i in ids}
    write_lmdb(
        compressed,
        {i: npz_value(features=np.concatenate(parts[i], 1, dtype=np.float32)) for i in ids},
    )
    common = [
        f"--splits={tmp_path / 'splits.json'}",
        f"--tokenizer={Path(SHARED) / 'roberta_bpe'}",
        "--workers=1",
    ]
    build.main(
        [
            *("raw", "--form=tvr", f"--out={tmp_path / 'films'}", *common),
            *(f"--features={folder}" for folder in folders),
            f"--subtitles={files / 'subtitles.jsonl'}",
            *(f"--queries={layout / 'ann' / f'queries_{split}.jsonl'}" for split in splits),
        ]
    )
    for name, database in (("plain", stored), ("compressed", compressed)):
        out = tmp_path / name / "films"
        build.main(
            [
                *("original", f"--out={out}", "--widths=128,64", *common),
                f"--video_db={database}",
                f"--subtitles_db={layout / 'txt_db' / 'tv_subtitles.db'}",
                *(f"--queries_db={layout / 'txt_db' / f'tvr_{split}.db'}" for split in splits),
            ]
        )
        assert records(out) == records(tmp_path / "films")
        metadata = Split(out, "train").metadata
        assert metadata.left_out == {}
        assert metadata.tokenizer_name == "roberta-base"
        assert metadata.feature_widths == (128, 64)
        assert metadata.seconds_per_feature == 1.5
    assert len(records(out)) == 4


class Databases:
    """Two clips of 6 frames, of which one speaks, and questions about both."""

    def __init__(self, folder: Path):
        self.folder = folder
        TOKENIZER.save(folder / "tokenizer.json")
        special = TOKENIZER.special
        ids = {"CLS": special.cls, "PAD": special.pad, "SEP": special.sep, "MASK": special.mask}
        self.meta = ids | {"tokenizer": "ours", "frame_length": 1.5}
        write_lmdb(
            folder / "videos",
            {name: msgpack_value(np.ones((6, 5), np.float32)) for name in ("a", "b")},
        )
        self.write_subtitles("the red square", TOKENIZER.encode("the red square"), [1, 2])
        answers = {f"a{i}": f"answer {i}" for i in range(5)}
        question = {"q": "what?", "vid": "a", "answer_idx": 3, "target": 3, "ts": "1.5-4.0"}
        question |= answers | {"input_ids": [[9], [1], [2, 2], [3], [4], [5]], "qid": 7}
        write_texts(folder / "tvqa_val.db", {"7": question}, self.meta | {"task": "tvqa"})
        self.question = question

    def write_subtitles(
        self, text: str, token_ids: list[int], frames: list[int], name: str = "a"
    ) -> None:
        value = subtitle_value(name, (text, 1.5, 4.5, token_ids), unique_sub2frames=[[0, frames]])
        for path in self.folder.glob("subtitles.db/*"):
            path.unlink()
        write_texts(self.folder / "subtitles.db", {name: value}, self.meta)

    def rename(self, name: str) -> None:
        """Gives the clip that speaks another name in the subtitles and in the question."""
        self.write_subtitles("the red square", TOKENIZER.encode("the red square"), [1, 2], name)
        meta = self.meta | {"task": "tvqa"}
        write_texts(self.folder / "tvqa_val.db", {"7": self.question | {"vid": name}}, meta)

    def build(self, *more: str) -> Path:
        build.main(
            [
                "original",
                f"--video_db={self.folder / 'videos'}",
                f"--subtitles_db={self.folder / 'subtitles.db'}",
                f"--queries_db=val={self.folder / 'tvqa_val.db'}",
                f"--tokenizer={self.folder}",
                f"--out={self.folder / 'films'}",
                *more,
            ]
        )
        return self.folder / "films"


@pytest.fixture
def databases(tmp_path):
    return Databases(tmp_path)


def test_the_queries_databases_say_the_split(databases):
    out = databases.build()
    (split,) = Split(out, "validation").metadata.clips.items()
    assert split == ("validation", 1)
    question = QuerySplit(out, "validation").read(0)
    assert question.answers == tuple(f"answer {i}" for i in range(5))
    assert question.answer_token_ids.tolist() == [1, 2, 2, 3, 4, 5]
    assert question.answer_token_counts.tolist() == [1, 2, 1, 1, 1]
    assert question.token_ids.tolist() == [9]
    assert (question.label, question.moment) == (3, (1.5, 4.0))
    metadata = QuerySplit(out, "validation").metadata
    assert (metadata.query_type, metadata.tokenizer_name) == ("question", "ours")
    assert metadata.left_out == {"videos with features but in no split: not used": 1}


def test_files_of_annotations_add_splits_to_databases(databases):
    """YC2C trains on the database of YC2R, and is evaluated on a file."""
    stored = {"desc": "stir", "input_ids": [9], "vid": "a", "desc_id": 1}
    write_texts(databases.folder / "yc2r_train.db", {"1": stored}, databases.meta)
    file = databases.folder / "yc2c_test_release.jsonl"
    file.write_text(json.dumps({"vid_name": "b", "clip_id": 40, "descs": None}))
    build.main(
        [
            "original",
            f"--video_db={databases.folder / 'videos'}",
            f"--subtitles_db={databases.folder / 'subtitles.db'}",
            f"--queries_db=train={databases.folder / 'yc2r_train.db'}",
            "--as_captions",
            "--form=yc2c",
            f"--queries=test_private={file}",
            f"--tokenizer={databases.folder}",
            f"--out={databases.folder / 'yc2c'}",
        ]
    )
    known, hidden = (
        QuerySplit(databases.folder / "yc2c", split).read(0) for split in ("train", "test_private")
    )
    assert (known.clip_id, known.text, known.group) == ("a", "stir", "a")
    assert (hidden.clip_id, hidden.text, hidden.group) == ("b", "", "40")
    assert known.token_ids.tolist() == [9]
    wrong = f"--queries=test={file}"
    with pytest.raises(SystemExit, match="holds annotations of type caption"):
        databases.build("--form=yc2c", wrong, "--overwrite")


def test_subtitles_and_queries_may_be_spelled_otherwise_than_the_features(databases, caplog):
    for path in (databases.folder / "videos").iterdir():
        path.unlink()
    write_lmdb(
        databases.folder / "videos",
        {name: msgpack_value(np.ones((6, 5), np.float32)) for name in ("\xe9.mp4", "b.mp4")},
    )
    databases.rename("e\u0301")
    out = databases.build()
    clip = Split(out, "validation").read(0)
    assert clip.clip_id == "\xe9.mp4"
    assert clip.subtitle_texts == ("the red square",)
    assert clip.frame_subtitle.tolist() == [-1, 0, 0, -1, -1, -1]
    assert QuerySplit(out, "validation").read(0).clip_id == "\xe9.mp4"
    left_out = Split(out, "validation").metadata.left_out
    assert "clips whose frames are given to other subtitles" not in left_out
    assert "spelled otherwise than in the features, and taken for the same: 1" in caplog.text


def test_differences_from_stored_tokens_and_alignment_are_counted(databases):
    databases.write_subtitles("the red square", [5, 6, 7], [1, 2])
    with pytest.raises(SystemExit, match=r"other tokens than the tokenizer makes for 1 of 1 sub"):
        databases.build()
    databases.write_subtitles("the red square", TOKENIZER.encode("the red square"), [2])
    out = databases.build()
    assert Split(out, "validation").read(0).frame_subtitle.tolist() == [-1, 0, 0, -1, -1, -1]
    counted = Split(out, "validation").metadata.left_out
    assert counted["clips whose frames are given to other subtitles"] == 1


def test_refuses_databases_that_do_not_fit_together(databases):
    with pytest.raises(SystemExit, match=r"seconds_per_feature=2 is not the 1\.5 that"):
        databases.build("--seconds_per_feature=2")
    with pytest.raises(SystemExit, match=r"5 wide, which do not divide into parts of 3 \+ 3"):
        databases.build("--widths=3,3")
    captions = databases.folder / "tvc"
    value = {"desc": "red", "desc_id": 1, "clip_id": 2, "ts": [0, 1], "vid_name": "a"}
    write_texts(captions / "cap.db", {"1": value | {"input_ids": [3]}}, None)
    (captions / "meta.json").write_text("{}")
    with pytest.raises(SystemExit, match="tvc holds annotations of type caption, the others are"):
        databases.build(f"--queries_db=val={captions}")
    databases.meta["SEP"] = 77
    databases.write_subtitles("the red square", [1], [1])
    with pytest.raises(SystemExit, match=r"has special tokens .*: give the tokenizer that made it"):
        databases.build()
