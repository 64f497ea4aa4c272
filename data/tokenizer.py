"""Byte-level BPE in RoBERTa's vocabulary layout: read, trained, saved, identified."""

import hashlib
import html
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from data.errors import InputError
from data.schema import SpecialIds

# In the order in which RoBERTa numbers them.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# RoBERTa fills its vocabulary up with these, which no text ever becomes.
FILLER_TOKEN = "madeupword"


def lower_shouting(text: str) -> str:
    """Text all in capitals in lower case: what the original does to queries, and to subtitles."""
    return text.lower() if text.isupper() else text


def normalise_subtitle(text: str) -> str:
    """HTML entities unescaped, then `lower_shouting`: what the original does to subtitles."""
    return lower_shouting(html.unescape(text))


class Tokenizer:
    """Text to ids, without special tokens and without a space put before the first word.

    A special token's name inside a text is text like any other.

    Attributes:
      vocab_size: one more than the largest id.
      special: ids of the special tokens.
      word_ids: `(first, stop)`, the longest run of ids that are words: what masked words may be
        replaced by.
      identity: SHA-256 of vocabulary and merges. It does not depend on the files' form, nor on the
        version of the library.
    """

    def __init__(self, vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]):
        missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
        if missing:
            raise ValueError(f"the vocabulary has no {' '.join(missing)}")
        self._vocabulary = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
        self._merges = [tuple(merge) for merge in merges]
        self._backend = tokenizers.Tokenizer(models.BPE(self._vocabulary, self._merges))
        self._backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._backend.decoder = decoders.ByteLevel()
        self.vocab_size = max(vocabulary.values()) + 1
        self.special = SpecialIds(*(vocabulary[t] for t in ("<s>", "<pad>", "</s>", "<mask>")))
        self.word_ids = _longest_run(
            index
            for token, index in vocabulary.items()
            if token not in SPECIAL_TOKENS and not token.startswith(FILLER_TOKEN)
        )
        canonical = json.dumps([self._vocabulary, self._merges], separators=(",", ":"))
        self.identity = hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Tokenizer":
        """Reads a `tokenizer.json`, or a folder with one or with `vocab.json` and `merges.txt`.

        Raises:
          InputError: nothing of the kind is there, or it is not byte-level BPE with RoBERTa's
            special tokens.
        """
        path = Path(path)
        try:
            if path.is_file():
                return cls(*_read_tokenizer_json(path))
            if (path / "tokenizer.json").is_file():
                return cls(*_read_tokenizer_json(path / "tokenizer.json"))
            files = [path / "vocab.json", path / "merges.txt"]
            if all(file.is_file() for file in files):
                return cls(*models.BPE.read_file(*map(str, files)))
        except Exception as error:  # The library raises nothing narrower.
            raise InputError(
                f"tokenizer {path} cannot be used ({error}): give a byte-level BPE with the tokens "
                f"{' '.join(SPECIAL_TOKENS)}"
            ) from error
        raise InputError(
            f"no tokenizer at {path}: give a tokenizer.json, or a folder with vocab.json and "
            "merges.txt"
        )

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learns merges from `texts` until there are `vocab_size` ids or nothing left to merge.

        Raises:
          InputError: `vocab_size` has no room for the 256 bytes and the special tokens.
        """
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if vocab_size < len(alphabet) + len(SPECIAL_TOKENS):
            raise InputError(
                f"vocab_size {vocab_size} is too small: bytes and special tokens alone take "
                f"{len(alphabet) + len(SPECIAL_TOKENS)}"
            )
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        model = json.loads(backend.to_str())["model"]
        return cls(model["vocab"], model["merges"])

    def save(self, path: str | os.PathLike) -> None:
        """Writes one `tokenizer.json`, readable by `load` and by the `tokenizers` library."""
        self._backend.save(str(path), pretty=False)

    def encode(self, text: str) -> list[int]:
        """Ids of `text` as it is."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text that `ids` came from; special tokens appear by name."""
        return self._backend.decode(list(ids), skip_special_tokens=False)


def _read_tokenizer_json(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges; ValueError if the file says to do anything beyond byte-level BPE."""
    content = json.loads(path.read_text(encoding="utf-8"))
    model, pre_tokenizer = content["model"], content["pre_tokenizer"]
    if model["type"] != "BPE" or pre_tokenizer["type"] != "ByteLevel":
        raise ValueError(f"it is {model['type']} after {pre_tokenizer['type']}")
    if pre_tokenizer["add_prefix_space"] or content["normalizer"] is not None:
        raise ValueError("it changes the text before the first word")
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    # Older files hold a merge as one string.
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    return model["vocab"] | added, merges


def _longest_run(ids: Iterable[int]) -> tuple[int, int]:
    """`(first, stop)` of the longest run of consecutive ids."""
    ids = sorted(ids)
    breaks = [i for i in range(1, len(ids)) if ids[i] != ids[i - 1] + 1]
    runs = zip([0, *breaks], [*breaks, len(ids)], strict=True)
    first, stop = max(runs, key=lambda run: run[1] - run[0])
    return ids[first], ids[stop - 1] + 1
