"""The command that is printed at the end makes a dataset of the features."""

import shlex

from data.build import main as build
from data.records.reader import Split
from data.schema import DatasetMetadata
from tests.data.clip_samples import TOKENIZER


def test_it_makes_a_dataset(films, extract, tmp_path, capsys):
    (films / "film1.en.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n")
    printed = extract(films, "--seconds_per_feature=4/3", networks="centre,colours")
    (line,) = [line for line in printed.out.splitlines() if line.startswith("next: ")]
    python, module, *arguments = shlex.split(line.removeprefix("next: "))
    assert (python, module) == ("python", "-m")
    assert arguments.pop(0) == "data.build"
    assert arguments[-2:] == ["--tokenizer=roberta-base", "--out=datasets/out"]
    TOKENIZER.save(tmp_path / "tokenizer.json")
    given = [f"--tokenizer={tmp_path / 'tokenizer.json'}", f"--out={tmp_path / 'dataset'}"]
    build([*arguments[:-2], *given, "--workers=1", "--validation_share=0.4"])
    metadata = DatasetMetadata.load(tmp_path / "dataset")
    assert [part.network for part in metadata.features] == ["centre", "colours"]
    assert metadata.seconds_per_feature == 4 / 3
    splits = [Split(tmp_path / "dataset", split) for split in metadata.clips]
    clips = [split.read(number) for split in splits for number in range(len(split))]
    said = {clip.clip_id: list(clip.subtitle_texts) for clip in clips}
    assert said == {"film0.0": [], "film1.0": ["Hello"], "film2.0": []}
