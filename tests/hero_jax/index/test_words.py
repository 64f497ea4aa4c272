"""Words of subtitles are found as a plain count of them says, in any number of segments."""

import collections
import dataclasses
import json
import math
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from hero_jax.index import Index, Line, Writer
from hero_jax.index.words import K1, B, SegmentWords, WordCollector, words_of
from tests.hero_jax.index.index_samples import content, entry, filled, make


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP, 24 hours_later!", ["don", "t", "stop", "24", "hours", "later"]),
        ("Straße ﬁn ４２", ["strasse", "fin", "42"]),
        ("E\u0301te\u0301 été", ["été", "été"]),
        ("東京 Tower", ["東", "京", "tower"]),
        ("... — 😀\0", []),
    ],
)
def test_words_are_letters_and_digits_in_no_case(text, words):
    assert words_of(text) == words


def said(clip_id, text, video_id="film"):
    lines = tuple(Line(n, n + 1, part) for n, part in enumerate(text.split("|")))
    return dataclasses.replace(entry(clip_id, 0), video_id=video_id, lines=lines)


def expected(texts: dict[str, str], query: str) -> dict[str, float]:
    """BM25 as it is written in the paper, with Lucene's weight of a word, and its clips."""
    words = {name: there for name, text in texts.items() if (there := words_of(text))}
    average = sum(map(len, words.values())) / max(len(words), 1)
    scores = collections.defaultdict(float)
    for word in set(words_of(query)):
        having = sum(word in there for there in words.values())
        weight = math.log(1 + (len(words) - having + 0.5) / (having + 0.5))
        for name, there in words.items():
            count = there.count(word)
            if count:
                length = K1 * (1 - B + B * len(there) / average)
                scores[name] += weight * count * (K1 + 1) / (count + length)
    return dict(scores)


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(
        st.lists(st.text("ab |", max_size=12), min_size=1, max_size=4), min_size=1, max_size=3
    ),
    query=st.text("abc ", max_size=6),
    gone=st.sets(st.integers(0, 5)),
)
def test_scores_are_those_of_the_formula(tmp_path_factory, parts, query, gone):
    path, texts = make(tmp_path_factory.mktemp("words") / "index"), {}
    with Writer(path) as writer:
        for part in parts:
            new = {str(len(texts) + n): text for n, text in enumerate(part)}
            writer.add([said(name, text) for name, text in new.items()])
            texts |= new
        deleted = {str(n) for n in gone} & texts.keys()
        writer.delete(deleted)
        for name in deleted:
            del texts[name]
        index = Index(path)
        names = dict(index.clip_ids())
        scores, numbers = index.text_search(query, 100)
        found = {
            names[n]: score for n, score in zip(numbers.tolist(), scores.tolist(), strict=True)
        }
        assert found == pytest.approx(expected(texts, query))
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
        writer.compact()
        names = dict(Index(path).clip_ids())
        again, numbers = Index(path).text_search(query, 100)
        assert dict(zip((names[n] for n in numbers), again, strict=True)) == pytest.approx(found)


def test_equal_clips_are_found_in_their_order_and_no_more_than_asked_for(tmp_path):
    make(tmp_path)
    with Writer(tmp_path) as writer:
        writer.add([said(name, "a ring") for name in "cba"])
        writer.add([said(name, "a ring") for name in "xy"])
    index = Index(tmp_path)
    assert index.text_search("ring", 4)[1].tolist() == [0, 1, 2, 3]
    kept = np.array([False, True, False, False, True])
    assert index.text_search("ring ring", 4, among=kept)[1].tolist() == [1, 4]
    assert index.text_search("ring", 0)[1].tolist() == index.text_search("nobody", 9)[1].tolist()


def test_words_are_in_the_file_bit_by_bit():
    collector = WordCollector()
    for video, text in (("b", "one two"), ("a", "two"), ("b", "")):
        collector.add(json.dumps([video, 0.0, [[0, 1, text]]]).encode())
    made = collector.finished()
    raw = np.frombuffer(made.to_bytes(), np.uint8)
    read = SegmentWords.from_bytes(raw, 3)
    assert [*read.video_ids()] == ["a", "b"]
    assert read.clip_videos().tolist() == [1, 0, 1]
    assert read.lengths.tolist() == [2, 1, 0]
    assert [part.tolist() for part in read.postings("two")] == [[0, 1], [1, 1]]
    assert [part.tolist() for part in read.postings("three")] == [[], []]
    for wrong in (raw[:-1], np.append(raw, raw[:1]), np.append(raw[:8] ^ 255, raw[8:])):
        with pytest.raises(ValueError, match="do not fit"):
            SegmentWords.from_bytes(wrong, 3)


@pytest.mark.parametrize("part", range(3, 9))
def test_damaged_words_are_refused(tmp_path, part):
    """Whatever a part of the file says, the search ends with a sentence or finds clips."""
    make(tmp_path)
    with Writer(tmp_path) as writer:
        writer.add([said(name, f"word {name}", name) for name in "abcd"])
    (file,) = tmp_path.glob("*.words")
    raw = bytearray(file.read_bytes())
    place = len(raw) * part // 9 // 4 * 4
    raw[place : place + 4] = b"\xff\xff\xff\x7f"
    file.write_bytes(raw)
    index = Index(tmp_path)
    for read in (lambda: index.text_search("word a d", 9), index.videos):
        try:
            read()
        except InputError as error:
            assert f"{tmp_path} is damaged" in str(error)  # noqa: PT017 - either outcome is right
    with pytest.raises(InputError, match=r"\.words is damaged \(its checksum"):
        index.check()


def as_version_2(path):
    """Takes from an index what version 2 of its format does not have."""
    document = json.loads((path / "index.json").read_text())
    for segment in document["index"]["segments"]:
        del segment["word_bytes"], segment["checksums"]["words"]
        (path / f"{segment['name']}.words").unlink()
    document["format_version"] = 2
    document["crc32"] = zlib.crc32(json.dumps(document["index"]).encode())
    (path / "index.json").write_text(json.dumps(document))


def test_an_index_of_version_2_is_searched_and_gets_its_words(tmp_path):
    before = filled(tmp_path, "abc", "de")
    old = Index(tmp_path)
    as_version_2(tmp_path)
    index = Index(tmp_path)
    index.check()
    assert content(index) == before
    for text in ("oh", "naïve quoted word", "日"):
        for one, other in zip(index.text_search(text, 9), old.text_search(text, 9), strict=True):
            np.testing.assert_array_equal(one, other)
    assert index.videos()[0] == old.videos()[0]
    with Writer(tmp_path) as writer:
        writer.delete(["a"])
        writer.add([said("new", "a ring")])
        assert len([*tmp_path.glob("*.words")]) == 1
        writer.compact()
    assert len([*tmp_path.glob("*.words")]) == len([*tmp_path.glob("*.frames")])
    Index(tmp_path).check()
    assert content(Index(tmp_path)).keys() == before.keys() - {"a"} | {"new"}
