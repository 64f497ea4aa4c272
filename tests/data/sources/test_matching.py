"""`python -m data.build raw`: videos whose features, subtitles, splits and annotations differ."""

import json
import unicodedata

import numpy as np
import pytest

from data.records.reader import Split
from tests.data.sources.raw_samples import Raw, read_queries, rows

NFC, NFD = (unicodedata.normalize(form, "\xe9t\xe9") for form in ("NFC", "NFD"))


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path)


def rename(raw: Raw, name: str, new: str, part: int) -> None:
    (raw.features[part] / f"{name}.npz").rename(raw.features[part] / f"{new}.npz")


def test_names_with_and_without_an_extension_are_of_one_video(raw, capsys):
    for part in (0, 1):
        rename(raw, "a", "a.mp4", part)
    rename(raw, "b", "b.mkv", 1)
    raw.write_lines(raw.subtitles, [raw.subtitles_of(name) for name in ("a", "b.webm", "c", "d")])
    raw.splits.write_text(json.dumps({"train": ["a.MOV", "b", "c.avi"], "val": ["d"]}))
    raw.write_lines(raw.queries, [raw.query(1, "a.mov"), raw.query(2, "d.flv")])
    raw.build()
    clips = raw.read("train")
    assert {name: clip.subtitle_texts for name, clip in clips.items()} == {
        "a.mp4": ("the red square a",),
        "b": ("the red square b.webm",),
        "c": ("the red square c",),
    }
    assert clips["a.mp4"].duration == 9.5
    assert [q.clip_id for q in read_queries(raw.out, "train").values()] == ["a.mp4"]
    assert [q.clip_id for q in read_queries(raw.out, "validation").values()] == ["d"]
    left_out = Split(raw.out, "train").metadata.left_out
    assert left_out == {"videos with features but in no split: not used": 1}
    assert rows(capsys.readouterr().out)["clips without subtitles"] == 0


def test_names_in_two_unicode_forms_are_of_one_video(raw):
    rename(raw, "a", NFC, 0)
    rename(raw, "a", NFD, 1)
    raw.write_lines(raw.subtitles, [raw.subtitles_of(NFD)])
    raw.splits.write_text(json.dumps({"train": [NFD, "b"]}))
    raw.write_lines(raw.queries, [raw.query(1, NFD)])
    raw.build()
    assert raw.read("train")[NFC].subtitle_texts == (f"the red square {NFD}",)
    assert [q.clip_id for q in read_queries(raw.out, "train").values()] == [NFC]


def test_names_that_are_two_videos_stay_two(raw):
    for part in (0, 1):
        rename(raw, "b", "a.mp4", part)
    raw.write_lines(raw.subtitles, [raw.subtitles_of("a"), raw.subtitles_of("c")])
    raw.splits.write_text(json.dumps({"train": ["a", "a.mp4", "c"]}))
    raw.write_lines(raw.queries, [raw.query(1, "a.mp4"), raw.query(2, "a"), raw.query(3, "a.mkv")])
    raw.build()
    said = {name: clip.subtitle_texts for name, clip in raw.read("train").items()}
    assert said == {"a": ("the red square a",), "a.mp4": (), "c": ("the red square c",)}
    about = {q.query_id: q.clip_id for q in read_queries(raw.out, "train").values()}
    assert about == {"1": "a.mp4", "2": "a"}
    left_out = Split(raw.out, "train").metadata.left_out
    assert left_out["queries of videos not in the dataset: skipped"] == 1


def test_clips_of_how2_are_found_by_names_with_extensions(raw):
    for part in (0, 1):
        rename(raw, "a", "a.mp4.1", part)
        rename(raw, "b", "b.2.webm", part)
    lines = ["a,[60:120],[62:64],red meets blue", "b.mkv,[120:180],[122:124],blue meets red"]
    queries = raw.folder / "how2r.csv"
    queries.write_text("\n".join(lines))
    raw.write_lines(raw.subtitles, [raw.subtitles_of("a.1")])
    raw.build(f"--queries=train={queries}", "--clip_seconds=0", form="how2r", splits=False)
    about = {q.clip_id: q.moment for q in read_queries(raw.out, "train").values()}
    assert about == {"a.mp4.1": (2.0, 4.0), "b.2.webm": (2.0, 4.0)}
    assert raw.read("train")["a.mp4.1"].subtitle_texts == ("the red square a.1",)


def test_whole_videos_of_howto100m_are_found_by_names_with_extensions(raw):
    for part in (0, 1):
        rename(raw, "a", "a.webm", part)
    captions = {"a": {"start": [0], "end": [2], "text": ["red"]}}
    raw.subtitles = raw.folder / "raw_caption.json"
    raw.subtitles.write_text(json.dumps(captions))
    queries = raw.folder / "how2r.csv"
    queries.write_text("a.mp4,[0:60],[2:4],red meets blue")
    raw.build(f"--queries=train={queries}", form="how2r", splits=False)
    assert raw.read("train")["a.webm.0"].subtitle_texts == ("red",)
    assert [q.clip_id for q in read_queries(raw.out, "train").values()] == ["a.webm.0"]


def other_subtitles(raw):
    raw.write_lines(raw.subtitles, [raw.subtitles_of(f"film_{name}") for name in "abcde"])


def other_splits(raw):
    raw.splits.write_text(json.dumps({"train": ["film_a", "film_b"], "val": ["film_c"]}))


def one_other_split(raw):
    raw.splits.write_text(json.dumps({"train": ["a"], "val": ["film_c"]}))


def other_annotations(raw):
    raw.write_lines(raw.queries, [raw.query(1, "film_a"), raw.query(2, "film_b")])


def other_annotations_and_a_hidden_one(raw):
    hidden = {"desc_id": 7, "desc": "red", "type": "v"}
    raw.write_lines(raw.queries, [hidden, raw.query(1, "film_a"), raw.query(2, "film_b")])


def other_parts(raw):
    for name in "abcde":
        rename(raw, name, f"film_{name}", 1)


def subtitles_of_no_split(raw):
    raw.write_lines(raw.subtitles, [raw.subtitles_of("e")])
    raw.splits.write_text(json.dumps({"train": ["a", "b", "c"], "val": ["d"]}))


NEAREST = r"\(the nearest: .*'{}' and '{}'"
WRONG = {
    "subtitles": (
        other_subtitles,
        "none of 5 videos with subtitles and 5 videos with features have the same name: name them "
        "alike " + NEAREST.format("film_a", "a"),
    ),
    "splits": (
        other_splits,
        "none of 3 videos in the splits and 5 videos with features .* "
        + NEAREST.format("film_a", "a"),
    ),
    "one split": (
        one_other_split,
        r"no video of split validation .* \(film_c, for one, is not there\) "
        + NEAREST.format("film_c", "c"),
    ),
    "annotations": (
        other_annotations,
        "none of 2 annotations is about a video of the dataset.*" + NEAREST.format("film_a", "a"),
    ),
    "annotations, one hidden": (
        other_annotations_and_a_hidden_one,
        "none of 2 videos in annotations and 5 videos with features .*"
        + NEAREST.format("film_a", "a"),
    ),
    "parts": (
        other_parts,
        "none of 5 videos in .*resnet and 5 videos in .*slowfast .*"
        + NEAREST.format("a", "film_a"),
    ),
    "subtitles of other splits": (
        subtitles_of_no_split,
        "none of the 4 videos in the splits has subtitles, which are of other videos: correct .* "
        + NEAREST.format("a", "e"),
    ),
}


@pytest.mark.parametrize(("spoil", "said"), WRONG.values(), ids=WRONG.keys())
def test_stops_where_hardly_any_name_agrees_and_shows_the_nearest(raw, spoil, said):
    spoil(raw)
    with pytest.raises(SystemExit, match=f"error: {said}") as caught:
        raw.build()
    assert len(str(caught.value).splitlines()) == 1
    assert not (raw.out / "clips").exists()


def test_a_few_videos_in_common_are_hardly_any(raw):
    ids = [f"v{number}" for number in range(60)]
    for name in ids:
        raw.write_features(name, 6)
        raw.write_features(name, 6, part=1)
    # 65 videos with features, and 64 with subtitles, of which 4 and then 3 are the same.
    other = [raw.subtitles_of(f"film {name}") for name in ids]
    raw.write_lines(raw.subtitles, other + [raw.subtitles_of(name) for name in "abcd"])
    raw.build()
    raw.write_lines(raw.subtitles, other + [raw.subtitles_of(name) for name in "abc"])
    with pytest.raises(SystemExit, match="only 3 of 63 videos with subtitles and 65 videos with"):
        raw.build("--overwrite")


def test_subtitles_without_any_cue_are_no_success(raw):
    empty = [{"vid_name": "a", "sub": [{"text": " ", "start": 0, "end": 1}]}]
    raw.write_lines(raw.subtitles, empty)
    said = r"error: no clip has a subtitle, .* \(1 subtitles without text: left out \(.*jsonl line"
    with pytest.raises(SystemExit, match=said):
        raw.build()
    assert not (raw.out / "clips").exists()
    raw.subtitles.write_text("")
    with pytest.raises(SystemExit, match=r"error: no clip has a subtitle, .* \(none was left out"):
        raw.build()
    raw.write_lines(raw.subtitles, [raw.subtitles_of("a")])
    raw.build()
    assert raw.read("train")["a"].subtitle_texts == ("the red square a",)


def test_what_is_wrong_with_all_files_of_subtitles_is_said(raw, tmp_path):
    folder = tmp_path / "srt"
    folder.mkdir()
    for number, name in enumerate("abcd"):
        content = ("1\n0:05 -> never\nHi\n", "Just words.\n")[number % 2]
        (folder / f"{name}.srt").write_text(content)
    raw.subtitles = folder
    with pytest.raises(SystemExit) as caught:
        raw.build()
    said = str(caught.value)
    assert said.startswith("error: no clip has a subtitle, although subtitles are given (4 files ")
    assert "a.srt can be read; of the first, in line 2, its times are '0:05 -> never': " in said
    assert "b.srt has text but no subtitles (it begins with 'Just words.'): write times as " in said
    assert "save it in a format that is read: SubRip, WebVTT, ASS" in said
    assert "d.srt" not in said
    assert said.endswith("): correct them, or leave them out")


def test_counts_what_is_not_read_and_passes_over_leftovers(raw, capsys):
    for name in ("._a.npz", ".DS_Store", "Thumbs.db", "notes.txt"):
        (raw.features[0] / name).write_bytes(b"\0\5\x16\7")
    raw.out.mkdir()
    (raw.out / ".DS_Store").touch()
    raw.build()
    printed = capsys.readouterr().out
    assert rows(printed)["files among the features that are not read"] == 1
    assert f"    {raw.features[0] / 'notes.txt'}\n" in printed
    assert Split(raw.out, "train").metadata.clips == {"train": 3, "validation": 1, "test": 1}
    (raw.out / "clips" / ".DS_Store").touch()
    (raw.out / "building").mkdir()
    (raw.out / "building" / ".AppleDouble").mkdir()
    raw.build("--overwrite")
    assert sorted(raw.read("train")) == ["a", "b", "c"]


def test_a_pattern_names_the_files_of_features(raw, capsys):
    for features in raw.features:
        for name in "abcde":
            (features / f"{name}.npz").rename(features / f"{name}_net.npz")
            np.save(features / f"{name}_fps.npy", np.float32(1.5))
    raw.build("--feature_name={id}_net")
    assert sorted(raw.read("train")) == ["a", "b", "c"]
    assert rows(capsys.readouterr().out)["files among the features that are not read"] == 10
    with pytest.raises(SystemExit, match="error: none of 4 videos with subtitles and 10 videos"):
        raw.build("--overwrite", splits=False)
