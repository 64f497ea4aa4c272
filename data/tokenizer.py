"""Byte-level BPE tokenizer with the layout of RoBERTa's vocabulary."""

import contextlib
import hashlib
import html
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from data.arguments import several, user_path
from data.errors import InputError, reason
from data.hub import fetch
from data.schema import SpecialIds
from data.text import decode

# In the order of their ids in RoBERTa.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# RoBERTa pads its vocabulary with tokens that begin with this; no text is ever encoded to them.
FILLER_TOKEN = "madeupword"
# Tokenizers that are fetched from the hub: repository and identity by name.
HUB = {
    "roberta-base": (
        "FacebookAI/roberta-base",
        "7f2ad8627a73346d1ffeef73aa4469d50fbec086875e010ed83b7bd15980689e",
    )
}
_PAIR = ("vocab.json", "merges.txt")


def lower_shouting(text: str) -> str:
    """Lower-cases a text all in capitals, as the original does with queries and subtitles."""
    return text.lower() if text.isupper() else text


def normalise_subtitle(text: str) -> str:
    """Replaces HTML entities and lower-cases a text all in capitals, as the original does."""
    return lower_shouting(html.unescape(text))


class Tokenizer:
    """Encodes text to ids, without special tokens and without a space before the first word.

    The name of a special token inside a text is encoded as ordinary text.

    Attributes:
      vocab_size: one more than the largest id.
      special: ids of the special tokens.
      word_ids: `(first, stop)`, the longest run of consecutive ids of words. Masked language
        modelling draws its random replacements from it.
      identity: SHA-256 of vocabulary and merges. It depends neither on the format of the files nor
        on the version of the library.
    """

    def __init__(self, vocabulary: Mapping[str, int], merges: Iterable[Sequence[str]]):
        """Makes a tokenizer of a vocabulary and merges.

        Args:
          vocabulary: ids by token.
          merges: pairs of tokens, in order of priority.

        Raises:
          ValueError: the vocabulary lacks a special token.
        """
        missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
        if missing:
            raise ValueError(f"the vocabulary has no {' '.join(missing)}")
        self._vocabulary = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
        self._merges = [(first, second) for first, second in merges]
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

        A name in HUB is fetched from the hub once, unless there is a file or folder of that name.

        Raises:
          InputError: there are no such files, they are not a byte-level BPE tokenizer with
            RoBERTa's special tokens, or the hub's cannot be fetched.
        """
        path = user_path(path)
        if str(path) in HUB and not path.exists():
            return cls._fetch(str(path))
        with _reading(path):
            if files := _files(path):
                return cls(*_read(files))
        raise InputError(
            f"{path} holds no tokenizer: give a tokenizer.json, a folder with "
            f"{' and '.join(_PAIR)}, or the name of one that is fetched ({', '.join(HUB)})"
        )

    @classmethod
    def _fetch(cls, name: str) -> "Tokenizer":
        """Returns a tokenizer of HUB; raises InputError if it cannot be fetched or is another."""
        repository, identity = HUB[name]
        by_hand = f"put its {' and '.join(_PAIR)} into a folder and give that as the tokenizer"
        files = fetch(repository, _PAIR, by_hand)
        with _reading(files[0].parent):
            tokenizer = cls(*_read(files))
        if tokenizer.identity != identity:
            raise InputError(
                f"{files[0].parent} is not the tokenizer {name} that models were trained with: "
                f"remove that folder, or {by_hand}"
            )
        return tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learns merges from `texts` until there are `vocab_size` ids or no pairs left to merge.

        Raises:
          InputError: `vocab_size` is less than the number of bytes (256) and special tokens.
        """
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if vocab_size < len(alphabet) + len(SPECIAL_TOKENS):
            raise InputError(
                f"vocab_size {vocab_size} is too small: give at least "
                f"{len(alphabet) + len(SPECIAL_TOKENS)}, the number of bytes and special tokens"
            )
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        backend.train_from_iterator(several(texts, "texts", "strings"), trainer)
        model = json.loads(backend.to_str())["model"]
        return cls(model["vocab"], model["merges"])

    def save(self, path: str | os.PathLike) -> None:
        """Writes a `tokenizer.json`, which `load` and the `tokenizers` library can read."""
        self._backend.save(str(user_path(path)), pretty=False)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without changing the text first."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids; special tokens appear by name."""
        return self._backend.decode(list(ids), skip_special_tokens=False)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what can go wrong with a tokenizer's files into an InputError about their place."""
    try:
        yield
    except Exception as error:  # The library raises no narrower class.
        raise InputError(
            f"tokenizer {path} cannot be used ({reason(error)}): give a byte-level BPE tokenizer "
            f"with the tokens {' '.join(SPECIAL_TOKENS)}"
        ) from error


def _files(path: Path) -> list[Path]:
    """Returns the files of a tokenizer, one or the pair, none if there are no such files."""
    for file in (path, path / "tokenizer.json"):
        if file.is_file():
            return [file]
    pair = [path / name for name in _PAIR]
    return pair if all(file.is_file() for file in pair) else []


def _read(files: Sequence[Path]) -> tuple[dict[str, int], list[list[str]]]:
    """Returns vocabulary and merges of a `tokenizer.json`, or of the pair."""
    if len(files) == 1:
        return _read_tokenizer_json(files[0])
    vocabulary, merges = files
    return json.loads(decode(vocabulary.read_bytes())), _read_merges(merges)


def _read_tokenizer_json(path: Path) -> tuple[dict[str, int], list[list[str]]]:
    """Returns vocabulary and merges.

    Raises:
      ValueError: the file asks for anything but byte-level BPE.
    """
    content = json.loads(decode(path.read_bytes()))
    model, pre_tokenizer = content["model"], content["pre_tokenizer"]
    if model["type"] != "BPE" or pre_tokenizer["type"] != "ByteLevel":
        raise ValueError(f"it is {model['type']} after {pre_tokenizer['type']}")
    if pre_tokenizer["add_prefix_space"] or content["normalizer"] is not None:
        raise ValueError("it changes the text before the first word")
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    # Older files hold a merge as one string.
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    return model["vocab"] | added, merges


def _read_merges(path: Path) -> list[list[str]]:
    """Returns the pairs of tokens of a `merges.txt`, whose first line may be a version.

    Raises:
      ValueError: a line is no pair.
    """
    merges = []
    for number, line in enumerate(decode(path.read_bytes()).split("\n"), 1):
        pair = line.rstrip("\r")
        if not pair or pair.startswith("#version"):
            continue
        merges.append(pair.split(" "))
        if len(merges[-1]) != 2:
            raise ValueError(f"{path.name} line {number} is no pair of tokens")
    return merges


def _longest_run(ids: Iterable[int]) -> tuple[int, int]:
    """Returns `(first, stop)` of the longest run of consecutive ids."""
    ordered = sorted(ids)
    breaks = [i for i in range(1, len(ordered)) if ordered[i] != ordered[i - 1] + 1]
    runs = zip([0, *breaks], [*breaks, len(ordered)], strict=True)
    first, stop = max(runs, key=lambda run: run[1] - run[0])
    return ordered[first], ordered[stop - 1] + 1
