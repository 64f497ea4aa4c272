"""Byte-level BPE: the original's ids, round trips, identity, and refused files."""

import json
import os
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.tokenizer import SPECIAL_TOKENS, Tokenizer, lower_shouting, normalise_subtitle
from tests.paths import TESTDATA

# Sentences of TVR with the ids that the original's scripts stored for them.
STORED_IDS = TESTDATA / "roberta_token_ids.json"
SHARED = os.environ.get("HERO_SHARED")
TEXTS = [
    "The red square meets the blue square.",
    "The blue square leaves, and the red one spins!",
    "A green circle enters from the left; it grows.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(TEXTS, 300)


@pytest.mark.shared
def test_roberta_gives_the_ids_that_the_original_stored():
    roberta = Tokenizer.load(Path(SHARED) / "roberta_bpe")
    texts, ids = zip(*json.loads(STORED_IDS.read_text()), strict=True)
    assert [roberta.encode(text) for text in texts] == list(ids)
    special = roberta.special
    assert (special.cls, special.pad, special.sep, special.mask) == (0, 1, 2, 50264)
    assert roberta.vocab_size == 50265
    assert roberta.word_ids == (4, 50261)  # as the original's databases state it


def test_normalises_as_the_original():
    assert normalise_subtitle("Salt &amp; pepper, &quot;yes&quot;") == 'Salt & pepper, "yes"'
    assert normalise_subtitle("WHAT? 2 &gt; 1") == "what? 2 > 1"
    assert lower_shouting("WHAT? 2 &GT; 1") == "what? 2 &gt; 1"
    assert normalise_subtitle("WHAt?") == lower_shouting("WHAt?") == "WHAt?"


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_decode_gives_back_any_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_names_of_special_tokens_in_a_text_are_text(tokenizer):
    special = {tokenizer.special.cls, tokenizer.special.sep, tokenizer.special.mask}
    assert not special & set(tokenizer.encode("<s> a </s> <mask>"))


def test_training_numbers_the_special_tokens_first_and_learns_words(tokenizer):
    special = tokenizer.special
    assert [special.cls, special.pad, special.sep, special.mask] == [0, 1, 2, 4]
    assert tokenizer.word_ids == (5, tokenizer.vocab_size)
    assert tokenizer.vocab_size == 300
    assert len(tokenizer.encode("square")) < len("square")


def test_training_depends_on_the_texts_alone(tokenizer):
    assert Tokenizer.train(TEXTS[::-1], 300).identity == tokenizer.identity
    assert Tokenizer.train(TEXTS, 299).identity != tokenizer.identity
    assert Tokenizer.train(TEXTS[:2], 300).identity != tokenizer.identity


def test_training_refuses_a_vocabulary_too_small_for_all_bytes():
    with pytest.raises(InputError, match="vocab_size 200 is too small"):
        Tokenizer.train(TEXTS, 200)


def test_all_file_formats_give_the_same_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    pair = tmp_path / "pair"
    pair.mkdir()
    (pair / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "\n".join(" ".join(merge) for merge in model["merges"])
    (pair / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    for path in (tmp_path / "tokenizer.json", tmp_path, pair):
        loaded = Tokenizer.load(path)
        assert loaded.identity == tokenizer.identity
        assert all(loaded.encode(text) == tokenizer.encode(text) for text in TEXTS)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_with_a_mark_give_the_same_tokenizer(tokenizer, tmp_path, encoding):
    tokenizer.save(tmp_path / "saved.json")
    saved = (tmp_path / "saved.json").read_text()
    model = json.loads(saved)["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding=encoding)
    merges = "\r\n".join(" ".join(merge) for merge in model["merges"])
    (tmp_path / "merges.txt").write_text(merges, encoding=encoding, newline="")
    assert Tokenizer.load(tmp_path).identity == tokenizer.identity
    (tmp_path / "tokenizer.json").write_text(saved, encoding=encoding)
    assert Tokenizer.load(tmp_path).identity == tokenizer.identity


def test_says_which_line_of_merges_is_wrong(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "saved.json")
    model = json.loads((tmp_path / "saved.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b c\n")
    with pytest.raises(InputError, match=r"merges\.txt line 2 is no pair of tokens"):
        Tokenizer.load(tmp_path)


def test_the_order_of_merges_is_part_of_the_identity(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    content = json.loads(path.read_text())
    content["model"]["merges"].reverse()
    path.write_text(json.dumps(content))
    assert Tokenizer.load(path).identity != tokenizer.identity


def test_the_tokenizers_library_reads_the_saved_file(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode(TEXTS[0]).ids == tokenizer.encode(TEXTS[0])


def test_refuses_a_path_without_a_tokenizer(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match=f"{path} holds no tokenizer: give a tokenizer.json"):
            Tokenizer.load(path)


def changed(content: dict, change: str) -> str:
    """The text of a tokenizer.json in which something is wrong."""
    match change:
        case "not JSON":
            return "{"
        case "no <mask>":
            content["model"]["vocab"]["<mAsk>"] = content["model"]["vocab"].pop("<mask>")
        case "it is WordPiece after ByteLevel":
            content["model"]["type"] = "WordPiece"
        case "it changes the text before the first word":
            content["pre_tokenizer"]["add_prefix_space"] = True
    return json.dumps(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("not JSON", "cannot be used"),
        ("no <mask>", "the vocabulary has no <mask>"),
        ("it is WordPiece after ByteLevel", "it is WordPiece after ByteLevel"),
        ("it changes the text before the first word", "it changes the text"),
    ],
)
def test_refuses_another_kind_of_tokenizer(tokenizer, tmp_path, change, said):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    path.write_text(changed(json.loads(path.read_text()), change))
    with pytest.raises(InputError, match=f"tokenizer {path} cannot be used.*") as caught:
        Tokenizer.load(path)
    assert said in str(caught.value)
    assert " ".join(SPECIAL_TOKENS) in str(caught.value)
