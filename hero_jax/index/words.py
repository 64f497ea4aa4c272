"""Words of subtitles: how text is cut into them, and which clips of a segment have them.

A segment's file of words says for each word in which clips it is and how often, and for each clip
how many words and which video it has. It is written with the segment, and mapped. In a row, without
gaps, are

  the numbers of words, of their bytes, of postings, of videos and of their bytes
  where each word ends in their bytes, each word's postings end, each video ends in their bytes
  rows and counts of the postings, by word and row
  of each clip the number of its words, and the number of its video
  the words and the ids of videos, each sorted by their bytes in UTF-8

in int64 in the first two lines and in int32 in the next two.
"""

import array
import bisect
import collections
import dataclasses
import itertools
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

# Saturation of a word's count, and the weight of a clip's length.
K1, B = 1.2, 0.75
# Chinese and Japanese have no spaces: each of these characters is a word.
_IDEOGRAPHS = (
    "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|(?:(?![{_IDEOGRAPHS}])[^\W_])+")
_SIZES = 5


def words_of(text: str) -> list[str]:
    """Returns the words of a text: its letters and digits in a row, in no case, without stemming.

    Characters that look alike to a reader, as wide letters and ligatures, are the same (NFKC).
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text.casefold()))


@dataclasses.dataclass(frozen=True, eq=False)
class _Table:
    """Byte strings, sorted: where each ends in all of them, `[N]`, and all of them, `[bytes]`."""

    ends: np.ndarray
    content: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> bytes:
        begin = int(self.ends[number - 1]) if number else 0
        return self.content[begin : int(self.ends[number])].tobytes()

    def find(self, key: bytes) -> int | None:
        """Returns the number of a string, None if it is not there."""
        number = bisect.bisect_left(range(len(self)), key, key=self.__getitem__)
        return number if number < len(self) and self[number] == key else None

    @staticmethod
    def made(numbers: dict[str, int]) -> tuple["_Table", np.ndarray]:
        """Sorts strings that have numbers; returns for each number the new one too."""
        keys = sorted((key.encode(), number) for key, number in numbers.items())
        places = np.zeros(len(keys), np.int64)
        places[[number for _, number in keys]] = np.arange(len(keys))
        ends = np.cumsum([len(key) for key, _ in keys], dtype=np.int64)
        return _Table(ends, np.frombuffer(b"".join(key for key, _ in keys), np.uint8)), places


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentWords:
    """The words of a segment's clips.

    words: all words.
    posting_ends: `[words]`, where the postings of each word end.
    rows, counts: `[postings]`, rows of clips that have the word, and how often.
    lengths: `[clips]`, numbers of words.
    videos: ids of the videos.
    video_of: `[clips]`, numbers of their videos.
    """

    words: _Table
    posting_ends: np.ndarray
    rows: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray
    videos: _Table
    video_of: np.ndarray

    def to_bytes(self) -> bytes:
        """Encodes the words as the content of a file."""
        sizes = (
            *(len(self.words), len(self.words.content), len(self.rows)),
            *(len(self.videos), len(self.videos.content)),
        )
        wide = (np.array(sizes), self.words.ends, self.posting_ends, self.videos.ends)
        narrow = (self.rows, self.counts, self.lengths, self.video_of)
        return b"".join(
            [
                *(part.astype("<i8").tobytes() for part in wide),
                *(part.astype("<i4").tobytes() for part in narrow),
                self.words.content.tobytes(),
                self.videos.content.tobytes(),
            ]
        )

    @classmethod
    def from_bytes(cls, content: np.ndarray, clips: int) -> "SegmentWords":
        """Returns the words in a file's bytes, uint8, of which little is read.

        Raises:
          ValueError: the bytes are no words of so many clips.
        """
        sizes = content[: 8 * _SIZES].view("<i8").tolist()
        words, word_bytes, postings, videos, video_bytes = sizes
        parts = [8 * n for n in (_SIZES, words, words, videos)]
        parts += [4 * n for n in (postings, postings, clips, clips)] + [word_bytes, video_bytes]
        if min(parts) < 0 or sum(parts) != len(content):
            raise ValueError("its words do not fit together")
        _, *rest = np.split(content, np.cumsum(parts[:-1]))
        word_ends, posting_ends, video_ends = (part.view("<i8") for part in rest[:3])
        rows, counts, lengths, video_of = (part.view("<i4") for part in rest[3:7])
        tables = _Table(word_ends, rest[7]), _Table(video_ends, rest[8])
        return cls(tables[0], posting_ends, rows, counts, lengths, tables[1], video_of)

    def postings(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of the clips that have a word, and how often they have it.

        Raises:
          ValueError: the rows are damaged.
        """
        number = self.words.find(word.encode())
        if number is None:
            return self.rows[:0], self.counts[:0]
        begin = int(self.posting_ends[number - 1]) if number else 0
        place = slice(begin, int(self.posting_ends[number]))
        rows = self.rows[place]
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.lengths):
            raise ValueError("its words are of no clips")
        return rows, self.counts[place]

    def clip_videos(self) -> np.ndarray:
        """Returns the number of each clip's video, `[clips]`; raises ValueError for damage."""
        numbers = self.video_of
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self.videos):
            raise ValueError("its clips are of no videos")
        return numbers

    def video_ids(self) -> Iterator[str]:
        """Yields the ids of the videos in the order of their numbers."""
        ends = [0, *self.videos.ends.tolist()]
        content = self.videos.content.tobytes()
        for begin, end in itertools.pairwise(ends):
            yield content[begin:end].decode()


class WordCollector:
    """Collects the words of a segment's clips, one clip at a time."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._videos: dict[str, int] = {}
        # Word, row and count of each posting.
        self._postings = array.array("i")
        self._lengths, self._video_of = array.array("i"), array.array("i")

    def add(self, text: bytes) -> None:
        """Takes the text of the next clip as `hero_jax.index.segment.Record` has it."""
        video_id, _, lines = json.loads(text)
        counts = collections.Counter(word for *_, line in lines for word in words_of(line))
        row, words = len(self._lengths), self._words
        for word, count in counts.items():
            self._postings.extend((words.setdefault(word, len(words)), row, count))
        self._lengths.append(counts.total())
        self._video_of.append(self._videos.setdefault(video_id, len(self._videos)))

    def finished(self) -> SegmentWords:
        """Returns the words of all clips."""
        words, places = _Table.made(self._words)
        videos, video_places = _Table.made(self._videos)
        posted = np.array(self._postings, np.int32).reshape(-1, 3)
        numbers = places[posted[:, 0]]
        ends = np.cumsum(np.bincount(numbers, minlength=len(words)), dtype=np.int64)
        posted = posted[np.argsort(numbers, kind="stable")]
        video_of = video_places[np.array(self._video_of, np.int32)]
        lengths = np.array(self._lengths, np.int32)
        return SegmentWords(words, ends, posted[:, 1], posted[:, 2], lengths, videos, video_of)


def bm25(
    postings: Sequence[tuple[np.ndarray, np.ndarray]], lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores clips by the words of a query (BM25: Robertson and Zaragoza, 2009).

    A word's weight is `log(1 + (N - n + 0.5) / (n + 0.5))` where n of the N clips have it, which is
    never negative. Clips without words do not count. Both are as in Lucene.

    Args:
      postings: for each word of the query the numbers of the clips that have it, and how often.
      lengths: numbers of words by the number of a clip, 0 for one that is deleted.

    Returns:
      Numbers of the clips that have a word, ascending, and their scores in float64.
    """
    num_clips = max(int(np.count_nonzero(lengths)), 1)
    weights, average = [], lengths.sum(dtype=np.int64) / num_clips
    for numbers, counts in postings:
        weight = math.log(1 + (num_clips - len(numbers) + 0.5) / (len(numbers) + 0.5))
        saturation = K1 * (1 - B + B * lengths[numbers] / max(average, 1e-9))
        weights.append(weight * counts * (K1 + 1) / (counts + saturation))
    joined = [np.zeros(0, np.int64), *(numbers for numbers, _ in postings)]
    clips, places = np.unique(np.concatenate(joined), return_inverse=True)
    return clips, np.bincount(places, np.concatenate([np.zeros(0), *weights]), len(clips))
