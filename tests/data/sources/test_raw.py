"""`python -m data.build raw`: files in, records out, and an error for each wrong input."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tensorflow_datasets.core import hashing

from data import build
from data.errors import InputError
from data.records.reader import QuerySplit, Split
from data.shapes import source as shapes
from data.sources.raw import derive_seconds_per_feature
from data.tokenizer import Tokenizer, normalise_subtitle
from tests.data.clip_samples import TOKENIZER
from tests.data.sources.raw_samples import Raw, read, read_queries, rows

SHARED = os.environ.get("HERO_SHARED")
NEEDS_SHARED = pytest.mark.shared


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
    assert (clips["a"].video_id, clips["a"].video_start) == ("", 0.0)
    assert list(raw.read("validation")) == ["d"]
    assert raw.read("test")["e"].subtitle_texts == ()
    query = QuerySplit(raw.out, "validation").read(0)
    assert (query.query_id, query.clip_id, query.moment) == ("2", "d", (2.25, 7.0))
    assert (query.text, query.kind) == ("red meets blue 2", "vt")
    metadata = Split(raw.out, "train").metadata
    assert (metadata.query_type, metadata.queries) == ("query", {"train": 1, "validation": 1})
    assert (metadata.seconds_per_feature, metadata.tokenizer_name) == (1.5, "tokenizer.json")
    table = rows(capsys.readouterr().out)
    assert table["clips in train"] == 3
    assert table["queries in validation"] == 1
    assert table["frames"] == 30
    assert table["clips without subtitles"] == 1
    assert table["skipped or cut"] == 0


def test_queries_may_have_no_clip_or_moment_and_none_are_needed(raw):
    raw.write_lines(raw.queries, [{"desc_id": 7, "desc": "red", "type": "v"}])
    raw.build()
    query = QuerySplit(raw.out, "test").read(0)
    assert (query.query_id, query.clip_id, query.moment) == ("7", "", None)
    build.main(
        [
            "raw",
            *(f"--features={folder}" for folder in raw.features),
            "--seconds_per_feature=1.5",
            f"--tokenizer={raw.folder}",
            f"--out={raw.folder / 'silent'}",
        ]
    )
    metadata = Split(raw.folder / "silent", "train").metadata
    assert (metadata.queries, metadata.query_type) == ({}, "")
    assert metadata.clips == {"train": 4, "validation": 1}
    assert metadata.totals["clips without subtitles"] == 5


def test_counts_what_it_leaves_out(raw, capsys, caplog):
    raw.write_lines(raw.subtitles, [raw.subtitles_of(clip_id) for clip_id in ("a", "b", "x", "y")])
    asked = [raw.query(1, "b"), raw.query(2, "x"), raw.query(3, "a"), raw.query(3, "a")]
    raw.write_lines(raw.queries, asked)
    (raw.features[0] / "b.npz").unlink()
    (raw.features[1] / "c.npz").unlink()
    for part in (0, 1):
        raw.write_features("z", 6, part)
    raw.write_features("a", 7)
    raw.build()
    expected = {
        "queries with a mistake: left out": 1,
        "videos with subtitles but without features: not used": 3,
        "videos with features but in no split: not used": 1,
        "videos without features: skipped": 2,
        "queries of videos not in the dataset: skipped": 2,
        "frames cut: a part of the features is one longer": 1,
    }
    assert Split(raw.out, "train").metadata.left_out == expected
    printed = capsys.readouterr().out
    table = rows(printed)
    assert {label: table[label] for label in expected} == expected
    assert f"{raw.queries} line 4: id '3' came before" in printed
    assert "    b of train\n    c of train\n" in printed
    assert f"{raw.queries} line 2: x" in printed
    assert "Split val" in caplog.text
    clips = raw.read("train")
    assert list(clips) == ["a"]
    assert clips["a"].frame_features.shape == (6, 5)


def test_a_video_that_cannot_be_used_stops_or_is_skipped(raw, capsys):
    (raw.features[0] / "b.npz").write_bytes(b"PK")
    with pytest.raises(SystemExit, match=r"error: .*b\.npz cannot be read .*: extract it again"):
        raw.build()
    raw.build("--on_bad_video=skip")
    assert sorted(raw.read("train")) == ["a", "c"]
    printed = capsys.readouterr().out
    assert rows(printed)["videos that cannot be used: skipped"] == 1
    assert "b.npz cannot be read" in printed


def test_an_interrupted_build_continues_with_changed_files(raw, caplog):
    ids = "abcdefghijkl"
    for clip_id in ids:
        raw.write_features(clip_id, 6)
        raw.write_features(clip_id, 6, part=1)
    raw.splits.write_text(json.dumps({"train": list(ids)}))
    last = sorted(ids, key=hashing.Hasher("train").hash_key)[-1]
    raw.write_features(last, 9)
    with pytest.raises(SystemExit, match=rf"resnet/{last}\.npz has 9"):
        raw.build("--num_shards=12")
    raw.write_features(last, 6)
    changed = next(clip_id for clip_id in ids if clip_id != last)
    raw.write_features(changed, 7)
    raw.build("--num_shards=12")
    assert "10 of 12 shards of videos are done already" in caplog.text
    gone_on = {path.name: path.read_bytes() for path in raw.out.rglob("*.tfrecord-*-of-*")}
    raw.out = raw.folder / "unbroken" / "films"
    raw.build("--num_shards=12")
    assert gone_on == {path.name: path.read_bytes() for path in raw.out.rglob("*.tfrecord-*-of-*")}
    assert "frames cut" in str(Split(raw.out, "train").metadata.left_out)


def test_a_video_lacks_a_part_of_its_features(raw, capsys):
    (raw.features[1] / "c.npz").unlink()
    raw.build("--validation_share=0.25", splits=False)
    printed = capsys.readouterr().out
    assert rows(printed)["videos that lack a part of the features: not used"] == 1
    assert f"c: not in {raw.features[1]}" in printed
    for clip_id in "abde":
        (raw.features[1] / f"{clip_id}.npz").rename(raw.features[1] / f"other_{clip_id}.npz")
    with pytest.raises(SystemExit, match=r"none of 5 videos in .*resnet and 4 .*'other_a'"):
        raw.build("--overwrite", splits=False)


def test_annotations_of_a_video_have_to_agree(raw, capsys):
    asked = [raw.query(1, "a"), raw.query(2, "a") | {"duration": 12.0}, raw.query(3, "d")]
    raw.write_lines(raw.queries, asked)
    raw.build(f"--queries=train={raw.queries}")
    table = rows(capsys.readouterr().out)
    assert table["durations unlike an earlier one of the same video: not used"] == 1
    assert table["queries said to be of another split than their video: in the video's"] == 1
    assert raw.read("train")["a"].duration == 9.5
    more = raw.folder / "more.jsonl"
    raw.write_lines(more, [raw.query(4, "a")])
    arguments = [f"--queries=train={raw.queries}", f"--queries=val={more}", "--overwrite"]
    with pytest.raises(SystemExit, match=r"a is in train at .*queries\.jsonl line 1 and in valid"):
        raw.build(*arguments, splits=False)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--clip_seconds=inf", "clip_seconds=inf is impossible: give 0 or a number above 0"),
        ("--clip_seconds=-60", "clip_seconds=-60 is impossible"),
        ("--validation_share=1", "shares of 1 for validation and 0 for test leave nothing"),
        ("--workers=0", "workers is 0"),
        ("--queries=vall=x.jsonl", "'vall' of vall=x.jsonl is no split: name train, validation"),
    ],
)
def test_names_an_impossible_argument(raw, argument, said):
    with pytest.raises(SystemExit, match=f"error: .*{said}"):
        raw.build(argument, splits=False)


def test_does_not_build_where_it_cannot_or_must_not(raw):
    raw.out = Path("/dev/null/films")
    with pytest.raises(SystemExit, match="films/building could not be written to"):
        raw.build()
    raw.out = raw.folder / "holidays"
    raw.out.mkdir()
    (raw.out / "tokenizer.json").write_text("mine")
    with pytest.raises(SystemExit, match="holidays holds other things than a dataset"):
        raw.build()
    assert (raw.out / "tokenizer.json").read_text() == "mine"


def test_refuses_annotations_about_other_videos(raw):
    raw.write_lines(raw.queries, [raw.query(1, "nowhere")])
    with pytest.raises(SystemExit, match=r"none of 1 annotations .*line 1, is about 'nowhere'"):
        raw.build()


def test_flags_are_given_once(raw, capsys):
    with pytest.raises(SystemExit):
        raw.build(f"--subtitles={raw.subtitles}")
    assert "--subtitles is given twice" in capsys.readouterr().err


def test_the_frame_rate_is_derived_from_durations_or_has_to_be_given(raw, caplog):
    for part in (0, 1):
        raw.write_features("a", 100, part)
    asked = [raw.query(1, "a") | {"duration": 150.0}, raw.query(2, "d")]
    raw.write_lines(raw.queries, asked)
    raw.build(seconds="")
    assert "1.5 s per feature: derived, all durations allow 1.485 to 1.515" in caplog.text
    assert Split(raw.out, "train").metadata.seconds_per_feature == 1.5
    with pytest.raises(
        SystemExit, match=r"a has 100 frames \(.*\), but lasts 150\.0 s, .* 75\.0 of 2"
    ):
        raw.build("--overwrite", seconds="2")
    raw.write_lines(raw.queries, [asked[0], asked[1] | {"duration": 20.0}])
    with pytest.raises(SystemExit, match=r"disagree: d has 6 frames in 20\.0 s, a 100 in 150\.0 s"):
        raw.build("--overwrite", seconds="")
    raw.write_lines(raw.queries, [raw.query(2, "d")])
    with pytest.raises(SystemExit, match=r"is unknown: give it, .* allow 1\.3571 to 1\.9000"):
        raw.build("--overwrite", seconds="")
    raw.write_lines(raw.queries, [{"text": "red", "video": "a"}])
    with pytest.raises(SystemExit, match="seconds_per_feature is unknown: give it, or annotations"):
        raw.build("--overwrite", form="plain", seconds="")


class Lengths:
    """A reader of features that knows only their numbers of frames."""

    def __init__(self, **frames):
        self.frames = frames

    def ids(self):
        return set(self.frames)

    def num_frames(self, video_id):
        return self.frames[video_id]


@pytest.mark.parametrize(
    ("frames", "seconds", "derived"),
    [
        ({"a": 100}, {"a": 150.0}, 1.5),
        ({"a": 100, "b": 61}, {"a": 200.9, "b": 121.0}, 2.0),
        ({"a": 400}, {"a": 100.0}, 0.25),
        ({"a": 1000, "b": 9}, {"a": 533.0, "b": 4.9}, 0.533),
    ],
)
def test_derives_the_number_with_the_fewest_decimals(frames, seconds, derived):
    assert derive_seconds_per_feature(Lengths(**frames), seconds) == derived


@pytest.mark.parametrize(("frames", "seconds"), [(3, 6.0), (20, 30.5)])
def test_does_not_guess_between_two_frame_rates(frames, seconds):
    # Three frames in 6 s are one in 1.5 to 3 s; twenty in 30.5 s one in 1.452 to 1.605.
    with pytest.raises(InputError, match=r"seconds_per_feature is unknown: .* allow 1\.\d+ to"):
        derive_seconds_per_feature(Lengths(a=frames), {"a": seconds})


def test_splits_come_from_files_annotations_or_are_random(raw):
    (raw.folder / "train.json").write_text('["a", "b"]')
    (raw.folder / "val.json").write_text('["c"]')
    named = [f"--splits={name}={raw.folder / name}.json" for name in ("train", "val")]
    raw.build(*named, splits=False)
    assert (sorted(raw.read("train")), list(raw.read("validation"))) == (["a", "b"], ["c"])
    queries = f"--queries=validation={raw.queries}"
    raw.build(queries, "--overwrite", splits=False)
    assert Split(raw.out, "validation").metadata.clips == {"validation": 2}
    raw.build("--overwrite", "--validation_share=0.2", "--test_share=0.2", splits=False)
    metadata = Split(raw.out, "train").metadata
    assert metadata.clips == {"train": 3, "validation": 1, "test": 1}
    first = list(raw.read("test"))
    raw.build("--overwrite", "--validation_share=0.2", "--test_share=0.2", splits=False)
    assert list(raw.read("test")) == first


def test_the_index_of_a_benchmarks_videos_gives_its_splits(raw):
    """VALUE's `video2dur_idx`; the two parts of TVR's test split are one, and may be unlabelled."""
    numbers = {"train": ["a", "b"], "val": ["c"], "test_public": ["d"], "test_challenge": ["e"]}
    index = {split: {name: [9.0, 7] for name in ids} for split, ids in numbers.items()}
    raw.splits.write_text(json.dumps(index))
    hidden = raw.folder / "tvr_test_release.jsonl"
    hidden.write_text(json.dumps({"desc_id": 9, "desc": "red"}))
    raw.build(f"--queries=train={raw.queries}", f"--queries=test={hidden}")
    assert sorted(raw.read("test")) == ["d", "e"]
    assert read_queries(raw.out, "test")["9"].clip_id == ""
    del index["test_challenge"]
    raw.splits.write_text(json.dumps(index))
    raw.build(f"--queries=test_public={hidden}", "--overwrite")
    assert Split(raw.out, "test_public").metadata.queries == {"test_public": 1}


def file(name, content):
    """Spoils a file: other content, or no file."""

    def spoil(raw):
        path = raw.folder / name
        if content is None:
            path.unlink()
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))

    return spoil


def longer(raw):
    raw.write_features("b", 8)


def wider(raw):
    np.savez(raw.features[0] / "b.npz", features=np.zeros((6, 4), np.float32))


def no_features_folder(raw):
    raw.features.append(raw.folder / "audio")


def no_features_of_a_split(raw):
    (raw.features[1] / "d.npz").unlink()


WRONG = {
    "two frames more": (longer, r"slowfast/b\.npz has 6 frames where .*resnet/b\.npz has 8"),
    "another width": (wider, r"clip b has features of widths \(4, 2\)"),
    "no folder": (no_features_folder, "features .*audio are no folder"),
    "nothing of a split": (no_features_of_a_split, r"no video of split validation has .* \(d, for"),
    "no subtitles file": (file("subtitles.jsonl", None), r"subtitles\.jsonl"),
    "no splits file": (file("splits.json", None), r"splits\.json cannot be read"),
    "no queries file": (file("queries.jsonl", None), r"queries\.jsonl cannot be read"),
    "no good query": (file("queries.jsonl", "{"), r"queries\.jsonl has nothing that can be used"),
    "no tokenizer": (file("tokenizer.json", None), r"tokenizer\.json holds no tokenizer"),
    "splits": (file("splits.json", "["), r"splits\.json cannot be used, it is not JSON"),
    "split list": (file("splits.json", ["a"]), r"splits\.json has to be .*name the split"),
    "split name": (file("splits.json", {"trian": ["a"]}), "has a split 'trian'"),
    "two names": (file("splits.json", {"val": ["a"], "validation": ["b"]}), "a split 'validation'"),
    "split ids": (file("splits.json", {"train": [1]}), "split 'train' that is no list of ids"),
    "in two splits": (file("splits.json", {"train": ["a"], "val": ["a"]}), "has a twice"),
    "no clips": (file("splits.json", {"train": []}), "names no videos"),
}


@pytest.mark.parametrize(("spoil", "said"), WRONG.values(), ids=WRONG.keys())
def test_says_in_a_sentence_what_is_wrong(raw, spoil, said):
    spoil(raw)
    with pytest.raises(SystemExit, match=f"error: .*{said}") as caught:
        raw.build()
    assert len(str(caught.value).splitlines()) == 1


def test_says_that_a_query_comes_twice(raw):
    more = raw.folder / "more.jsonl"
    raw.write_lines(more, [raw.query(1, "d")])
    with pytest.raises(SystemExit, match=r"error: query 1 comes twice, at .*more\.jsonl"):
        raw.build(f"--queries={raw.queries}", f"--queries={more}")


def test_queries_of_two_types_are_two_datasets(raw):
    more = raw.folder / "more.jsonl"
    raw.write_lines(raw.queries, [{"text": "red", "video": "a", "start": 0, "end": 1}])
    raw.write_lines(more, [{"caption": "red", "video": "a", "start": 0, "end": 1}])
    arguments = [f"--queries={raw.queries}", f"--queries={more}"]
    with pytest.raises(SystemExit, match=r"more\.jsonl holds annotations of type caption"):
        raw.build(*arguments, form="plain")


def test_says_that_the_dataset_exists_before_reading_anything(raw):
    raw.build()
    raw.subtitles.unlink()
    with pytest.raises(SystemExit, match=r"error: dataset .*films exists: .*overwrite"):
        raw.build()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_says_that_the_disk_is_full(raw):
    (raw.out / "building").mkdir(parents=True)
    (raw.out / "building" / "tokenizer").symlink_to("/dev/full")
    with pytest.raises(
        SystemExit,
        match=r"error: .*films could not be written to \(No space left on device\): make room",
    ):
        raw.build()


def test_builds_the_sample(tmp_path, capsys):
    build.main(["shapes", f"--out={tmp_path / 'films'}", "--num_clips=10", "--seed=3"])
    films = [shapes.film(3, index) for index in range(10)]
    by_split = {"train": 8, "validation": 1, "test": 1}
    assert {name: len(Split(tmp_path / "films", name)) for name in by_split} == by_split
    clips = read(tmp_path / "films", "validation")
    for film in films[8::10]:
        clip = clips[film.clip_id]
        np.testing.assert_array_equal(clip.frame_features, np.concatenate(film.features, axis=1))
        assert clip.story == film.story
        assert clip.frame_images == film.frame_images
    narration = [
        normalise_subtitle(subtitle.text)
        for index, film in enumerate(films)
        if index % 10 < 8
        for subtitle in film.subtitles
    ]
    expected = Tokenizer.train(narration, shapes.VOCABULARY_SIZE)
    assert Split(tmp_path / "films", "test").metadata.tokenizer == expected.identity
    assert rows(capsys.readouterr().out)["clips in test"] == 1


def test_the_sample_needs_a_clip(tmp_path):
    with pytest.raises(SystemExit, match="error: num_clips is 0"):
        build.main(["shapes", f"--out={tmp_path / 'films'}", "--num_clips=0"])


@NEEDS_SHARED
def test_imports_real_sentences(tmp_path):
    source = Path(SHARED) / "tvr_text"
    out = tmp_path / "tvr_text"
    build.main(
        [
            "raw",
            "--form=tvr",
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
    assert metadata.seconds_per_feature == 1.5
    late = "subtitles after the last frame (is the frame rate right?): kept, without frames"
    assert metadata.left_out == {late: 1}
