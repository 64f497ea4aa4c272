"""`python -m data.build`: the raw layout in, and every way in which it can be wrong."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from clip_samples import TOKENIZER

from data import build, shapes
from data.reader import QuerySplit, Split
from data.tokenizer import Tokenizer

SHARED = os.environ.get("HERO_SHARED")
IDS = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e"]}


class Raw:
    """A source in the raw layout that a test may spoil, and its import.

    Clips a to e have 6 frames of 3 and 2 features at 1.5 s, and one subtitle, but for e.
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
                self.write_features(features / f"{clip_id}.npz", values.astype(np.float32))

    def subtitles_of(self, clip_id: str) -> dict:
        subtitle = {"text": f"the red square {clip_id}", "start": 1.5, "end": 4}
        return {"vid_name": clip_id, "sub": [subtitle]}

    def query(self, number: int, clip_id: str) -> dict:
        query = {"desc_id": number, "desc": f"red meets blue {number}", "type": "vt"}
        return query | {"vid_name": clip_id, "ts": [2.25, 7], "duration": 9.5}

    def write_lines(self, path: Path, records: list) -> None:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))

    def write_features(self, path: Path, values: np.ndarray) -> None:
        np.savez(path, features=values)

    def build(self, *more: str) -> None:
        build.main(
            [
                "raw",
                f"--subtitles={self.subtitles}",
                *(f"--features={folder}" for folder in self.features),
                f"--splits={self.splits}",
                f"--queries={self.queries}",
                f"--tokenizer={self.folder / 'tokenizer.json'}",
                f"--out={self.out}",
                *more,
            ]
        )

    def read(self, split: str) -> dict:
        records = Split(self.out, split)
        return {clip.clip_id: clip for clip in map(records.read, range(len(records)))}


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path)


def test_imports_everything(raw, capsys):
    raw.build()
    clips = raw.read("train")
    assert sorted(clips) == ["a", "b", "c"]
    expected = np.concatenate(
        [np.arange(18).reshape(6, 3) + ord("b"), np.arange(12).reshape(6, 2) + ord("b")], axis=1
    )
    np.testing.assert_array_equal(clips["b"].frame_features, expected.astype(np.float16))
    assert clips["b"].subtitle_texts == ("the red square b",)
    assert clips["b"].token_ids.tolist() == TOKENIZER.encode("the red square b")
    assert clips["b"].frame_subtitle.tolist() == [-1, 0, 0, -1, -1, -1]
    assert (clips["a"].duration, clips["b"].duration) == (9.5, 9.0)
    assert list(raw.read("validation")) == ["d"]
    assert raw.read("test")["e"].subtitle_texts == ()
    query = QuerySplit(raw.out, "validation").read(0)
    assert (query.query_id, query.clip_id, query.moment) == ("2", "d", (2.25, 7.0))
    assert (query.text, query.kind) == ("red meets blue 2", "vt")
    assert len(QuerySplit(raw.out, "train")) == 1
    table = rows(capsys.readouterr().out)
    assert table["clips in train"] == 3
    assert table["queries in validation"] == 1
    assert table["frames"] == 30
    assert table["clips without subtitles"] == 1
    assert table["skipped or cut"] == 0


def rows(table: str) -> dict[str, int]:
    """The labelled counts in what a build prints."""
    lines = [line.rsplit(maxsplit=1) for line in table.splitlines()]
    return {label: int(n.replace(",", "")) for label, n in lines if n.replace(",", "").isdigit()}


def test_queries_are_optional_and_may_have_no_clip_or_moment(raw):
    unlabelled = {"desc_id": 7, "desc": "red", "type": "v"}
    raw.write_lines(raw.queries, [unlabelled])
    raw.build()
    query = QuerySplit(raw.out, "test").read(0)
    assert (query.query_id, query.clip_id, query.moment) == ("7", "", None)
    raw.queries.write_text("")
    raw.build("--overwrite")
    assert Split(raw.out, "train").metadata.queries == {}


def test_subtitle_lines_may_be_empty_or_mixed(raw):
    raw.subtitles.write_text("\n" + raw.subtitles.read_text().replace("\n", "\n\n"))
    raw.build()
    assert raw.read("train")["a"].subtitle_texts == ("the red square a",)


def test_counts_what_it_leaves_out(raw, capsys, caplog):
    raw.write_lines(raw.subtitles, [raw.subtitles_of(clip_id) for clip_id in ("a", "b", "x", "y")])
    raw.write_lines(raw.queries, [raw.query(1, "b"), raw.query(2, "x"), raw.query(3, "a")])
    (raw.features[0] / "b.npz").unlink()
    (raw.features[1] / "c.npz").unlink()
    raw.write_features(raw.features[0] / "z.npz", np.zeros((6, 3), np.float32))
    raw.write_features(raw.features[0] / "a.npz", np.zeros((7, 3), np.float32))
    raw.build()
    expected = {
        "clips with subtitles but in no split: not used": 2,
        "feature files of clips in no split: not used": 1,
        "clips without features: skipped": 2,
        "queries of clips not in the dataset: skipped": 2,
        "frames cut: a part of the features is one longer": 1,
    }
    assert Split(raw.out, "train").metadata.left_out == expected
    table = rows(capsys.readouterr().out)
    assert {label: table[label] for label in expected} == expected
    assert "Skipped, without features: 2 of train: b, c" in caplog.text
    assert "Split val" in caplog.text
    clips = raw.read("train")
    assert list(clips) == ["a"]
    assert clips["a"].frame_features.shape == (6, 5)


def features(values):
    """Spoils a clip's first features: other values."""

    def spoil(raw):
        raw.write_features(raw.features[0] / "b.npz", np.asarray(values))

    return spoil


def file(name, content):
    """Spoils a file: other content, or no file."""

    def spoil(raw):
        path = raw.folder / name
        if content is None:
            path.unlink()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))

    return spoil


def another_key(raw):
    np.savez(raw.features[0] / "b.npz", feature=np.zeros((6, 3), np.float32))


def pickled(raw):
    raw.write_features(raw.features[0] / "b.npz", np.array([[{}]], object))


def cut(raw):
    path = raw.features[0] / "b.npz"
    path.write_bytes(path.read_bytes()[:100])


def no_features_folder(raw):
    raw.features.append(raw.folder / "audio")


def no_features_of_a_split(raw):
    (raw.features[1] / "d.npz").unlink()


def subtitle(**changes):
    line = {"vid_name": "a", "sub": [{"text": "a", "start": 0, "end": 1} | changes]}
    return file("subtitles.jsonl", "\n" + json.dumps(line))


def query(**changes):
    line = {"vid_name": "a", "desc_id": 1, "desc": "a", "ts": [0, 1]} | changes
    return file("queries.jsonl", json.dumps(line))


GOOD_LINE = json.dumps({"vid_name": "a", "sub": []})
WRONG = {
    "NaN": (features([[0.0, np.nan, 0.0]] * 6), r"b\.npz has NaN or infinite values"),
    "infinite": (features([[0.0, 0.0, 0.0]] * 5 + [[0, 0, -np.inf]]), r"b\.npz has .* in frame 5"),
    "too large": (features([[0.0, 1e6, 0.0]] * 6), r"b\.npz has .* than float16 holds"),
    "rank 3": (features(np.zeros((6, 3, 1))), r"b\.npz is float64\[6, 3, 1\]"),
    "rank 1": (features(np.zeros(6)), r"b\.npz is float64\[6\]"),
    "integers": (features(np.zeros((6, 3), int)), r"b\.npz is int64"),
    "no frames": (features(np.zeros((0, 3))), r"b\.npz has no frames"),
    "another width": (features(np.zeros((6, 4))), r"clip b has features of widths \(4, 2\)"),
    "two frames more": (
        features(np.zeros((8, 3))),
        r"slowfast/b\.npz has 6 frames where .*resnet/b\.npz has 8",
    ),
    "another key": (another_key, r"b\.npz has no array features but feature"),
    "pickled": (pickled, r"b\.npz cannot be read"),
    "cut npz": (cut, r"b\.npz cannot be read"),
    "empty npz": (file("resnet/b.npz", b""), r"b\.npz cannot be read"),
    "no npz": (file("resnet/b.npz", b"features"), r"b\.npz cannot be read"),
    "no folder": (no_features_folder, "feature folder .*audio does not exist"),
    "nothing of a split": (no_features_of_a_split, r"no clip of split validation .*: d\.npz"),
    "no subtitles file": (file("subtitles.jsonl", None), r"subtitles\.jsonl cannot be read"),
    "no splits file": (file("splits.json", None), r"splits\.json cannot be read"),
    "no queries file": (file("queries.jsonl", None), r"queries\.jsonl cannot be read"),
    "no tokenizer": (file("tokenizer.json", None), r"no tokenizer at .*tokenizer\.json"),
    "line": (file("subtitles.jsonl", f"{GOOD_LINE}\n{{"), r"subtitles\.jsonl line 2 is not JSON"),
    "list": (file("subtitles.jsonl", "[]"), "line 1 has to be an object"),
    "Latin-1": (file("subtitles.jsonl", b'{"vid_name": "\xe9"}'), "is not UTF-8"),
    "no name": (file("subtitles.jsonl", '{"sub": []}'), "line 1: vid_name has to be a str"),
    "no sub": (file("subtitles.jsonl", '{"vid_name": "a"}'), "line 1: sub has to be a list"),
    "twice": (file("subtitles.jsonl", f"{GOOD_LINE}\n{GOOD_LINE}"), "line 2: clip a comes a sec"),
    "no object": (file("subtitles.jsonl", '{"vid_name": "a", "sub": ["hi"]}'), "subtitle 0 has to"),
    "no text": (subtitle(text=None), "line 2, subtitle 0: text has to be a str"),
    "half a pair": (subtitle(text="\ud83d"), "line 2, subtitle 0: text has half of a surrogate"),
    "start": (subtitle(start="0:01"), "line 2, subtitle 0: start has to be a float"),
    "backwards": (subtitle(start=2), r"line 2, subtitle 0 lasts from 2\.0 to 1\.0"),
    "NaN seconds": (subtitle(end=float("nan")), "line 2, subtitle 0 lasts from"),
    "query line": (file("queries.jsonl", "{"), r"queries\.jsonl line 1 is not JSON"),
    "no query id": (query(desc_id=None), "line 1 has no desc_id"),
    "no query": (query(desc=3), "line 1: desc has to be a str"),
    "one end": (query(ts=[3]), r"line 1: ts has to be \[start, end\]"),
    "moment": (query(ts=[3, 2]), "line 1 lasts from 3 to 2"),
    "duration": (query(duration=0), r"line 1: duration is 0\.0"),
    "rate": (query(duration=60), r"a\.npz has 6 frames, but the clip lasts 60\.0 s.* 40\.0"),
    "splits": (file("splits.json", "["), r"splits\.json is not JSON"),
    "split list": (file("splits.json", ["a"]), r"splits\.json has to be"),
    "split name": (file("splits.json", {"dev": ["a"]}), "has a split 'dev'"),
    "two names": (file("splits.json", {"val": ["a"], "validation": ["b"]}), "a split 'validation'"),
    "split ids": (file("splits.json", {"train": [1]}), "split 'train' has to be a list"),
    "in two splits": (file("splits.json", {"train": ["a"], "val": ["a"]}), "has clip a twice"),
    "no clips": (file("splits.json", {"train": []}), "names no clips"),
}


@pytest.mark.parametrize(("spoil", "said"), WRONG.values(), ids=WRONG.keys())
def test_says_in_a_sentence_what_is_wrong(raw, spoil, said):
    spoil(raw)
    with pytest.raises(SystemExit, match=f"error: .*{said}") as caught:
        raw.build()
    assert len(str(caught.value).splitlines()) == 1


def test_says_that_a_query_comes_twice(raw):
    raw.write_lines(raw.queries, [raw.query(1, "a"), raw.query(1, "d")])
    with pytest.raises(SystemExit, match="error: query 1 comes twice"):
        raw.build()


def test_says_that_the_dataset_exists_before_reading_anything(raw):
    raw.build()
    raw.subtitles.unlink()
    with pytest.raises(SystemExit, match=r"error: dataset .*films exists: .*--overwrite"):
        raw.build()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_says_that_the_disk_is_full(raw):
    raw.out.mkdir()
    (raw.out / "tokenizer.json").symlink_to("/dev/full")
    with pytest.raises(SystemExit, match=r"error: the disk of .*films is full: make room"):
        raw.build()


def test_builds_the_sample(tmp_path, capsys):
    build.main(["shapes", f"--out={tmp_path / 'films'}", "--num_clips=20", "--seed=3"])
    films = list(shapes.films(3, 20))
    by_split = {"train": 16, "validation": 2, "test": 2}
    assert {name: len(Split(tmp_path / "films", name)) for name in by_split} == by_split
    split = Split(tmp_path / "films", "validation")
    read = {clip.clip_id: clip for clip in map(split.read, range(2))}
    for film in films[8::10]:
        clip = read[film.clip_id]
        np.testing.assert_array_equal(clip.frame_features, np.concatenate(film.features, axis=1))
        assert clip.story == film.story
        assert clip.frame_images == film.frame_images
    narration = [s.text for i, film in enumerate(films) if i % 10 < 8 for s in film.subtitles]
    expected = Tokenizer.train(narration, shapes.VOCABULARY_SIZE)
    assert split.metadata.tokenizer == expected.identity
    assert rows(capsys.readouterr().out)["clips in test"] == 2


def test_the_sample_needs_a_clip(tmp_path):
    with pytest.raises(SystemExit, match="error: --num_clips is 0"):
        build.main(["shapes", f"--out={tmp_path / 'films'}", "--num_clips=0"])


@pytest.mark.skipif(not SHARED, reason="HERO_SHARED is not set")
def test_imports_real_sentences(tmp_path):
    source = Path(SHARED) / "tvr_text"
    out = tmp_path / "tvr_text"
    build.main(
        [
            "raw",
            f"--subtitles={source / 'subtitles.jsonl'}",
            f"--features={source / 'features' / 'resnet'}",
            f"--features={source / 'features' / 'slowfast'}",
            f"--splits={source / 'splits.json'}",
            f"--queries={source / 'queries_train.jsonl'}",
            f"--queries={source / 'queries_val.jsonl'}",
            f"--tokenizer={Path(SHARED) / 'roberta_bpe'}",
            f"--out={out}",
        ]
    )
    metadata = Split(out, "train").metadata
    assert metadata.clips == {"train": 800, "validation": 200}
    assert metadata.queries == {"train": 1441, "validation": 362}
    assert metadata.feature_widths == (128, 64)
    assert metadata.left_out == {}
    layout = Path(SHARED) / "official_layout" / "txt_db" / "tv_subtitles.db"
    stored = json.loads((layout / "sub_info.json").read_text())
    for name in metadata.clips:
        split = Split(out, name)
        for clip in map(split.read, range(len(split))):
            for folder, columns in (("resnet", slice(128)), ("slowfast", slice(128, None))):
                features = np.load(source / "features" / folder / f"{clip.clip_id}.npz")["features"]
                np.testing.assert_array_equal(clip.frame_features[:, columns], features)
            if clip.clip_id in stored:
                expected = stored[clip.clip_id]["frame2unique_sub"]
                under = enumerate(clip.frame_subtitle.tolist())
                assert {str(frame): index for frame, index in under if index >= 0} == expected
