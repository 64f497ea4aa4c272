"""A dataset of random features and words with the lengths of television's."""

import itertools
import os
import pathlib
import string
from collections.abc import Mapping, Sequence

import numpy as np
from tokenizers import pre_tokenizers

# Read when TensorFlow is imported, which otherwise prints notices.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from data.building.dataset import build_dataset
from data.building.plan import Building
from data.schema import RawClip, RawSubtitle
from data.sources.base import ClipSource
from data.synthetic import tv_lengths
from data.tokenizer import SPECIAL_TOKENS, Tokenizer

SECONDS_PER_FEATURE = 1.5
# How byte-level tokenizers write a space.
SPACE = "\u0120"


def build(
    folder: pathlib.Path,
    clips: Mapping[str, int],
    feature_size: int,
    vocab_size: int,
    num_frames: int | None = None,
) -> None:
    """Writes a dataset.

    Args:
      clips: numbers of clips by split.
      vocab_size: tokens of its tokenizer, the mask's as the last.
      num_frames: of every clip; drawn by default.
    """
    tokenizer, words = make_tokenizer(vocab_size)
    rng = np.random.default_rng(0)
    made = {
        split: [
            make_clip(rng, f"{split}{n}", words, feature_size, num_frames) for n in range(count)
        ]
        for split, count in clips.items()
    }
    build_dataset(folder, ClipSource(made, SECONDS_PER_FEATURE), tokenizer, Building())


def make_tokenizer(vocab_size: int) -> tuple[Tokenizer, list[str]]:
    """Returns a tokenizer of as many tokens, and its words: each is one token after a space."""
    *first, mask = SPECIAL_TOKENS
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = make_words(vocab_size - len(SPECIAL_TOKENS) - len(letters))
    # A word is what it is without its last letter, and that letter.
    tokens = [*first, *letters, *(SPACE + word for word in words), mask]
    merges = [(SPACE + word[:-1], word[-1]) for word in words]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return Tokenizer(vocabulary, merges), words


def make_words(count: int) -> list[str]:
    """Returns the words of one letter, then of two, and so on."""
    lengths = itertools.count(1)
    by_length = (itertools.product(string.ascii_lowercase, repeat=length) for length in lengths)
    return list(itertools.islice(map("".join, itertools.chain.from_iterable(by_length)), count))


def make_clip(
    rng: np.random.Generator,
    name: str,
    words: Sequence[str],
    feature_size: int,
    num_frames: int | None,
) -> RawClip:
    """Draws a clip."""
    lengths = tv_lengths(rng, num_frames)
    features = rng.standard_normal((lengths.num_frames, feature_size), np.float32)
    subtitles = tuple(
        RawSubtitle(
            "".join(f" {word}" for word in rng.choice(words, number)),
            first * SECONDS_PER_FEATURE,
            (first + frames) * SECONDS_PER_FEATURE,
        )
        for first, frames, number in lengths.subtitles
    )
    return RawClip(name, (features.astype(np.float16),), subtitles)
