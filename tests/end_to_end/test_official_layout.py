"""The original's databases through `configs/tvr.py`, with a test split without answers."""

import json
import os
import shutil
from pathlib import Path

import lmdb
import lz4.frame
import msgpack
import pytest

from configs import tvr
from data import build
from data.schema import DatasetMetadata
from hero_jax.training.evaluate import evaluate_checkpoint
from hero_jax.training.loop import train
from tests.end_to_end.harness import make_program

SHARED = os.environ.get("HERO_SHARED")
ANSWERS = ("vid", "vid_name", "ts", "target", "duration")


def without_answers(source: Path, out: Path, names: list[str]) -> Path:
    """Writes a copy of the queries `names` of a database, without clips and moments."""
    out.mkdir()
    shutil.copy(source / "meta.json", out)
    with (
        lmdb.open(str(source), readonly=True, lock=False) as old,
        lmdb.open(str(out), map_size=2**24) as new,
        old.begin() as reader,
        new.begin(write=True) as writer,
    ):
        for name in names:
            value = msgpack.loads(lz4.frame.decompress(reader.get(name.encode())), raw=False)
            kept = {key: item for key, item in value.items() if key not in ANSWERS}
            writer.put(name.encode(), lz4.frame.compress(msgpack.dumps(kept, use_bin_type=True)))
    return out


@pytest.mark.shared
def test_imported_queries_train_score_and_predict(tmp_path):
    layout = Path(SHARED) / "official_layout"
    databases = {split: layout / "txt_db" / f"tvr_{split}.db" for split in ("train", "val")}
    clips = {
        split: sorted(set(json.loads((folder / "query2video.json").read_text()).values()))
        for split, folder in databases.items()
    }
    names = sorted(json.loads((databases["val"] / "query2video.json").read_text()))
    test = without_answers(databases["val"], tmp_path / "tvr_test.db", names)
    for name, splits, queries in (
        ("tvr", clips, databases),
        ("hidden", {"test": clips["val"]}, {"test": test}),
    ):
        (tmp_path / "splits.json").write_text(json.dumps(splits))
        build.main(
            [
                *("original", f"--out={tmp_path / name}", "--widths=128,64", "--workers=1"),
                f"--video_db={layout / 'video_db' / 'tv' / 'resnet_slowfast_1.5'}",
                f"--subtitles_db={layout / 'txt_db' / 'tv_subtitles.db'}",
                *(f"--queries_db={split}={folder}" for split, folder in queries.items()),
                f"--splits={tmp_path / 'splits.json'}",
                f"--tokenizer={Path(SHARED) / 'roberta_bpe'}",
            ]
        )
    metadata = DatasetMetadata.load(tmp_path / "tvr")
    config = tvr.get_config()
    config.data.dir = str(tmp_path)
    config.batch.update(groups=2, clips_per_group=2, accumulation=1)
    config.model.update(
        feature_size=192,
        hidden_size=16,
        intermediate_size=16,
        num_heads=2,
        cross_modal_layers=1,
        temporal_layers=1,
        dropout=0.0,
        attention_dropout=0.0,
        dtype="float32",
    )
    config.optimizer.update(steps=2, warmup_steps=1)
    program = make_program(config)
    results = train(config, str(tmp_path / "run"), program)
    assert results["moment_retrieval/moment_queries"] == metadata.queries["validation"]
    config.data.update(name="hidden", eval_split="test")
    scores = evaluate_checkpoint(config, str(tmp_path / "run"), program)
    assert "moment_retrieval/vcmr_r@1_iou0.5" not in scores
    content = json.loads((tmp_path / "run" / "predictions-test-2" / "moments.json").read_text())
    assert sorted(entry["desc_id"] for entry in content["VCMR"]) == sorted(map(int, names))
    assert content["SVMR"] == []
    assert sorted(content["video2idx"]) == clips["val"]
