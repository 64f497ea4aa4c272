"""Names of the same video: which are alike, and what is said if hardly any are."""

import pickle
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.report import Report
from data.schema import RawSubtitle
from data.sources.names import (
    KnownNames,
    check_alike,
    common_endings,
    nearest,
    normal_form,
    spellings,
    with_ids,
)
from data.sources.subtitles import open_subtitles


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a", "a"),
        ("a.mp4", "a"),
        ("a.MKV", "a"),
        ("a.mp4.webm", "a"),
        ("a.mov.3", "a.3"),
        ("a.3.mp4", "a.3"),
        ("a.3", "a.3"),
        ("a.en", "a.en"),
        ("a.mp4x", "a.mp4x"),
        ("mp4", "mp4"),
        (".mp4", ".mp4"),
        ("e\u0301.wav", "\xe9"),
        ("A", "A"),
    ],
)
def test_names_without_a_media_extension_in_composed_form(name, form):
    assert normal_form(name) == form


NAMES = st.sets(st.sampled_from(["a", "a.mp4", "a.mkv", "b", "b.MOV", "\xe9", "e\u0301", "c.1"]))


@given(names=NAMES, ids=NAMES)
def test_a_name_has_one_id_and_an_exact_match_keeps_its_spelling(names, ids):
    found = spellings(names, ids)
    assert len(set(found.values())) == len(found)
    for video_id, name in found.items():
        assert video_id in ids - names
        assert name in names - ids
        assert normal_form(video_id) == normal_form(name)
    known = KnownNames(ids)
    for name in names:
        assert known.find(name) in {None, *ids}
        if name in ids:
            assert known.find(name) == name
    # Nothing that is alike and unambiguous is left.
    for video_id in ids - names - found.keys():
        alike = [name for name in names if normal_form(name) == normal_form(video_id)]
        same = [other for other in ids if normal_form(other) == normal_form(video_id)]
        assert not alike or len(alike) > 1 or len(same) > 1


def test_any_name_finds_its_id_unless_two_are_alike():
    known = KnownNames({"a.mp4", "b", "c", "c.mp4", "x.webm.2"})
    found = {name: known.find(name) for name in ("a", "a.avi", "b.ts", "c", "c.mkv", "x.2", "y")}
    assert found == {
        **{"a": "a.mp4", "a.avi": "a.mp4", "b.ts": "b", "c": "c", "c.mkv": None},
        **{"x.2": "x.webm.2", "y": None},
    }


def test_subtitles_have_the_ids_of_the_features(tmp_path, caplog):
    for name in ("a", unicodedata.normalize("NFD", "\xe9t\xe9"), "same"):
        (tmp_path / f"{name}.srt").write_text(f"1\n00:00:01,000 --> 00:00:02,000\n{len(name)}\n")
    reader = with_ids(open_subtitles(tmp_path), {"a.mp4", "\xe9t\xe9", "same", "silent"})
    assert reader.ids() == {"a.mp4", "\xe9t\xe9", "same"}
    assert "Names of subtitles that are spelled otherwise than in the features" in caplog.text
    assert "the same: 2, as a for a.mp4." in caplog.text
    assert reader.read("a.mp4", Report()) == (RawSubtitle("1", 1.0, 2.0),)
    assert reader.read("\xe9t\xe9", Report()) == (RawSubtitle("5", 1.0, 2.0),)
    assert reader.read("same", Report()) == (RawSubtitle("4", 1.0, 2.0),)
    assert reader.read("silent", Report()) == ()
    assert reader.files("a.mp4") == [tmp_path / "a.srt"]
    narrowed = pickle.loads(pickle.dumps(reader.narrowed(["a.mp4", "silent"])))
    assert narrowed.ids() == {"a.mp4"}
    assert narrowed.read("a.mp4", Report()) == (RawSubtitle("1", 1.0, 2.0),)


def test_subtitles_of_ids_stay_as_they_are(tmp_path, caplog):
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n")
    reader = open_subtitles(tmp_path)
    assert with_ids(reader, {"a", "b.mp4"}) is reader
    assert caplog.text == ""


def names(count: int, pattern: str = "v{}") -> set[str]:
    return {pattern.format(number) for number in range(count)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (set(), names(9)),
        ({"v1"}, names(999)),
        (names(39, "x{}") | names(39), names(78)),
    ],
)
def test_names_that_agree_here_and_there_pass(first, second, caplog):
    check_alike(first, second, "videos here", "videos there")
    assert caplog.text == ""


def test_names_that_agree_in_a_few_cases_are_logged(caplog):
    first = names(39, "x{}") | {"v1", "v2", "v3"}
    check_alike(first, names(50), "videos here", "videos there")
    assert "only 3 of 42 videos here and 50 videos there have the same name" in caplog.text
    assert "(the nearest: 'x10' and 'v10'" in caplog.text


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"x"}, {"y"}, "none of 1 videos here and 1 videos there have the same name: name"),
        (names(1000), names(2000, "v{}_clip"), r"nearest: 'v100' and 'v100_clip', 'v101' and"),
        (names(40), names(40, "V{}") | {"v1", "v2"}, "only 2 of 40 videos here and 42 videos "),
    ],
)
def test_names_that_hardly_ever_agree_are_shown(first, second, said):
    with pytest.raises(InputError, match=said):
        check_alike(first, second, "videos here", "videos there")


def test_the_nearest_names_are_found_among_many():
    many = names(3000, "a{}") | {"prefix_zz9"}
    assert nearest({"zz9"}, many) == "(the nearest: 'zz9' and 'prefix_zz9')"
    assert nearest(set(), many) == "(there are no names to compare)"


@pytest.mark.parametrize(
    ("ids", "least", "endings"),
    [
        (
            ["a_clip", "a_ms_fps", "b_clip", "b_ms_fps", "c_x_clip", "c_x_ms_fps"],
            2,
            {"_clip": 3, "_ms_fps": 3},
        ),
        (["v_1-clip", "v_1-i3d"], 1, {"-clip": 1, "-i3d": 1}),
        (["v_1-clip", "v_1-i3d"], 2, {}),
        (["s01_clip_00", "s01_clip_01", "s02_clip_00", "s02_clip_01"], 1, {}),
        (["a.0", "a.1", "b.0", "b.1"], 1, {}),
        (["a_x", "a_y", "c", "d", "e", "f"], 1, {}),
        ([], 1, {}),
    ],
)
def test_endings_of_several_files_of_a_video(ids, least, endings):
    assert common_endings(ids, least) == endings
