"""The benchmark on real sentences runs on settings that exist, and prints its table."""

import json

import numpy as np
import pytest

from benchmarks import sentences, simulated
from configs import pretrain

WIDTHS = {"resnet": 128, "slowfast": 64}


@pytest.fixture
def corpus(tmp_path):
    """Twelve clips of 20 frames in the form of the corpus, with a tokenizer of RoBERTa's size."""
    folder = tmp_path / "shared"
    (folder / "roberta_bpe").mkdir(parents=True)
    tokenizer, words = simulated.make_tokenizer(50265)
    tokenizer.save(folder / "roberta_bpe" / "tokenizer.json")
    rng, clips = np.random.default_rng(0), [f"clip{number}" for number in range(12)]
    source = folder / "tvr_text"
    for name, width in WIDTHS.items():
        (source / "features" / name).mkdir(parents=True)
        for clip in clips:
            features = rng.standard_normal((20, width)).astype(np.float16)
            np.savez(source / "features" / name / f"{clip}.npz", features=features)
    text = " ".join(words[:5])
    subtitles = [
        {"vid_name": clip, "sub": [{"text": text, "start": 3.0, "end": 9.0}]} for clip in clips
    ]
    queries = [
        {"vid_name": clip, "desc_id": number, "desc": text, "ts": [3.0, 9.0], "duration": 30.0}
        for number, clip in enumerate(clips)
    ]
    for name, lines in (("subtitles", subtitles), ("queries_val", queries[6:])):
        (source / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (source / "splits.json").write_text(json.dumps({"train": clips[:6], "val": clips[6:]}))
    return folder


def test_settings_are_fields_of_the_config():
    config = pretrain.get_config()
    for name, value in (sentences.SETTINGS | sentences.FRAME_ROWS).items():
        *blocks, field = name.split(".")
        block = config
        for part in blocks:
            block = block[part]
        assert isinstance(value, type(block[field]) | int), name


def test_a_run_per_seed_beside_the_original(monkeypatch, tmp_path, capsys):
    commands = []
    monkeypatch.setattr(sentences, "run", commands.append)
    monkeypatch.setattr(
        sentences.curves,
        "history",
        lambda workdir: {f"eval/{name}": {sentences.STEPS: 0.25} for name in sentences.ORIGINAL},
    )
    monkeypatch.setenv("HERO_SHARED", str(tmp_path))
    sentences.main(["--seeds", "1", "2", f"--out={tmp_path}"])
    built, *trained = commands
    assert built[1:4] == ["-m", "data.build", "raw"]
    assert ["--config.seed=1" in command for command in trained] == [True, False]
    lines = capsys.readouterr().out.splitlines()
    assert [line[:6] for line in lines[1:]] == ["seed 1", "seed 2", *["origin"] * 3]


@pytest.mark.slow
def test_two_steps_on_few_clips(corpus, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HERO_SHARED", str(corpus))
    sentences.main(["--seeds", "1", "--steps=2", f"--out={tmp_path / 'out'}"])
    _, ours, *originals = capsys.readouterr().out.splitlines()
    assert ours.startswith("seed 1, ")
    assert len(ours.split()) == 4 + len(sentences.ORIGINAL)
    assert len(originals) == 3
