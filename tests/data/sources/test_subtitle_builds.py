"""Messages of a build about a folder of subtitles; another encoding is noticed."""

import numpy as np

from data import build
from data.records.reader import Split
from data.report import Report
from data.sources.features import FeatureParts
from data.sources.raw import RawSource, open_source
from data.sources.subtitles import open_subtitles
from tests.data.clip_samples import TOKENIZER

SRT = "1\n00:00:01,000 --> 00:00:02,000\n"


def make_folders(folder, subtitles: dict[str, bytes]) -> list[str]:
    """Writes features of the videos and their subtitles; returns the arguments of a build."""
    for name in ("net", "subtitles"):
        (folder / name).mkdir(exist_ok=True)
    for name, content in subtitles.items():
        (folder / "subtitles" / name).write_bytes(content)
        np.save(folder / "net" / f"{name.split('.')[0]}.npy", np.ones((9, 4), np.float16))
    TOKENIZER.save(folder / "tokenizer.json")
    return [
        *("raw", f"--features={folder / 'net'}", f"--subtitles={folder / 'subtitles'}"),
        *(f"--tokenizer={folder / 'tokenizer.json'}", "--seconds_per_feature=1", "--workers=1"),
        *("--validation_share=0", f"--out={folder / 'films'}"),
    ]


def test_the_summary_names_all_that_is_not_read(tmp_path, capsys):
    damaged = {f"bad{number}.srt": "né".encode()[:-1] + b"\n" for number in range(5)}
    arguments = make_folders(tmp_path, {**damaged, "good.ass.srt": f"{SRT}Hi\n".encode()})
    (tmp_path / "subtitles" / "notes.docx").write_text("Hi")
    (tmp_path / "subtitles" / "._good.srt").write_bytes(b"\0\5\x16\7")
    build.main(arguments)
    said = capsys.readouterr().out
    assert "skipped or cut" not in said
    assert all(str(tmp_path / "subtitles" / name) in said for name in [*damaged, "notes.docx"])
    assert "._good" not in said
    assert Split(tmp_path / "films", "train").metadata.clips == {"train": 6}


def test_a_build_with_another_encoding_reads_the_subtitles_again(tmp_path):
    arguments = make_folders(tmp_path, {"a.srt": f"{SRT}Где ты\n".encode("cp1251")})
    texts = []
    for encoding in ("cp1251", "koi8_r"):
        build.main([*arguments, f"--subtitle_encoding={encoding}", "--overwrite"])
        texts.append(Split(tmp_path / "films", "train").read(0).subtitle_texts)
    assert texts == [("Где ты",), ("Где ты".encode("cp1251").decode("koi8_r"),)]


def test_shards_that_were_read_in_another_encoding_are_not_kept(tmp_path):
    make_folders(tmp_path, {"a.srt": f"{SRT}Hi\n".encode()})
    identities = []
    for encoding in (None, "cp1251", "cp1251"):
        source = open_source(
            FeatureParts([tmp_path / "net"]),
            open_subtitles(tmp_path / "subtitles", encoding=encoding),
            annotations=[],
            query_type="",
            splits={"train": ["a"]},
            shares={},
            seconds_per_feature=1.0,
            clip_seconds=0.0,
            report=Report(),
            source_class=RawSource,
        )
        identities.append(source.identity(["a"]))
    assert identities[0] != identities[1] == identities[2]
