"""Functions for programs that only have JAX compute what the model does, from the same segments."""

import itertools
from collections import Counter

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from data.pipeline import packing, segments
from hero_jax.inference import compiled
from tests.data.pipeline import packing_samples
from tests.data.pipeline.packing_samples import METADATA, TOKENS, subtitles_of
from tests.hero_jax import tiny
from tests.hero_jax.inference import export_samples
from tests.hero_jax.inference.export_samples import SECONDS, clips, model, source

TEXTS = ["a red circle jumps", "it spins", "the blue square and then a red square"]
# Places for the subtitles of a padded clip.
SUBTITLES = 5


def frames_and_words(clip, config, longest_text=0):
    """Returns the number of the subtitle of each frame, and the words of each subtitle.

    Both are what `compiled` asks its users for.
    """
    subtitles = [words.tolist() for words in subtitles_of(clip, config)]
    frames = clip.frame_subtitle[: config.max_frames]
    if config.segmentation == "frames":
        return np.zeros_like(frames), [[]]
    if config.segmentation == "clip":
        return np.zeros_like(frames), [list(itertools.chain(*subtitles))[: config.max_clip_tokens]]
    if not subtitles:
        frames = np.arange(len(frames)) // segments.FRAMES_WITHOUT_SUBTITLE
        return frames, [[]] * (frames[-1] + 1)
    texts = []
    for j, words in enumerate(subtitles):
        room = config.row_length - 1 - longest_text - np.sum(frames == j)
        for before in subtitles[:j][::-1][: config.context_subtitles]:
            if len(before) + len(words) > room:
                break
            words = before + words
        texts.append(words)
    return frames, texts


def padded(clips, config, texts=None):
    """Returns the arrays of clips as compiled functions take them.

    Args:
      texts: for each clip, the texts that follow each subtitle.
    """
    shape = len(clips), config.max_frames
    features = np.zeros((*shape, clips[0].frame_features.shape[1]), np.float16)
    frame_subtitle = np.full(shape, -1, np.int32)
    longest = config.max_clip_tokens
    if config.segmentation != "clip":
        longest = config.max_tokens * (config.context_subtitles + 1)
    # Numbers that are no padding show whether they are read.
    tokens = np.full((len(clips), SUBTITLES, longest), 7, np.int32)
    counts = np.zeros(tokens.shape[:2], np.int32)
    num_frames = np.array([min(len(c.frame_features), shape[1]) for c in clips], np.int32)
    for n, clip in enumerate(clips):
        features[n, : num_frames[n]] = clip.frame_features[: num_frames[n]]
        longest_text = max(map(len, texts[n])) if texts else 0
        frame_subtitle[n, : num_frames[n]], subtitles = frames_and_words(clip, config, longest_text)
        for j, words in enumerate(subtitles):
            tokens[n, j, : len(words)], counts[n, j] = words, len(words)
    return features, num_frames, tokens, counts, frame_subtitle


def padded_texts(texts, length):
    """Returns texts of each clip `[clips, most, length]`, and their lengths."""
    most = max(map(len, texts))
    ids, counts = (
        np.full((len(texts), most, length), 7, np.int32),
        np.zeros((len(texts), most), int),
    )
    for n, of_clip in enumerate(texts):
        for v, text in enumerate(of_clip):
            ids[n, v, : len(text)], counts[n, v] = text, len(text)
    return ids, counts


def segments_of(group):
    """Returns how often each segment is in a group, as (frame, token, position) of every slot.

    Checks on the way that padding is empty, and that frame_slot is the inverse of frame_index.
    """
    contents = np.stack([group[name] for name in ("frame_index", "token_ids", "position_ids")], -1)
    assert (contents[group["segment_ids"] == 0] == (-1, TOKENS.pad, 0)).all()
    counts: Counter = Counter()
    for row, segment_ids in zip(contents, group["segment_ids"], strict=True):
        for number in np.unique(segment_ids[segment_ids > 0]):
            counts[tuple(map(tuple, row[segment_ids == number].tolist()))] += 1
    slots = np.flatnonzero(group["frame_index"].reshape(-1) >= 0)
    inverse = np.full(group["frame_slot"].size, -1)
    inverse[group["frame_index"].reshape(-1)[slots]] = slots
    np.testing.assert_array_equal(group["frame_slot"].reshape(-1), inverse)
    return counts


def packed(clip, config, texts):
    """Returns the arrays of the group that the packer makes of one clip."""
    limits = config.copy_and_resolve_references()
    limits.update(clips_per_group=1, rows_per_group=20)
    arrays = packing.clip_arrays(1, limits, packing_samples.FEATURE_SIZE, TOKENS.pad, len(texts))
    group = {name: array[0] for name, array in arrays.items()}
    prepared = segments.prepare(clip, 0, limits, METADATA, tails=texts)
    assert packing.ClipPacker(group, limits).add(prepared)
    return group


ids = st.integers(5, 99)
texts = st.lists(st.lists(ids, min_size=1, max_size=7), min_size=1, max_size=2)


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(
    clips=st.tuples(packing_samples.clips(), packing_samples.clips()),
    texts=st.none() | st.tuples(texts, texts),
    segmentation=st.sampled_from(["subtitle", "subtitle", "subtitle_cls", "clip", "frames"]),
    context=st.integers(0, 2),
    row_length=st.sampled_from([16, 20, 40]),
)
def test_segments_are_those_of_the_packer(clips, texts, segmentation, context, row_length):
    config = packing_samples.batch_config(
        segmentation=segmentation, context_subtitles=context, row_length=row_length
    )
    layout = compiled._Layout(TOKENS, config)
    arrays = padded(clips, config, texts)
    batch = layout(*arrays, texts=padded_texts(texts, 7) if texts else None)
    batch = {name: np.asarray(array) for name, array in batch.items()}
    for n, clip in enumerate(clips):
        of_clip = texts[n] if texts else [[]]
        expected = packed(clip, config, of_clip)
        for name in ("num_frames", "frame_features", "frame_place", "clip_slot"):
            np.testing.assert_array_equal(batch[name][n], expected[name], strict=True)
        # The last version may be one that this clip does not have.
        rows = len(of_clip) * SUBTITLES
        group = {name: array[n][:rows] for name, array in batch.items()}
        group["frame_slot"] = group["frame_slot"][: len(of_clip)]
        # Places for subtitles that the clip does not have are segments without frames or words.
        unused = SUBTITLES - len(frames_and_words(clip, config)[1])
        begun_by_cls = segmentation in ("frames", "subtitle_cls")
        first = TOKENS.cls if begun_by_cls else TOKENS.sep
        empty = Counter()
        for text in of_clip:
            slots = enumerate([first, *text])
            empty[tuple((-1, token, position) for position, token in slots)] += unused
        assert segments_of(group) == segments_of(expected) + empty


class RowsOnly:
    """A model that keeps the rows of queries that it is given."""

    def encode_queries(self, rows):
        self.rows = {name: np.asarray(array) for name, array in rows.items()}
        return np.zeros((*self.rows["query_mask"].shape, 1), np.float32)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(queries=st.lists(st.lists(ids, max_size=5), min_size=3, max_size=3))
def test_queries_are_those_of_the_packer(queries):
    config = packing_samples.batch_config(query_rows_per_group=3)
    arrays = packing.query_arrays(1, config, len(queries), TOKENS.pad)
    group = {name.removeprefix("query_"): array[0] for name, array in arrays.items()}
    assert packing.QueryRows(
        {name: array[0] for name, array in arrays.items()}, config, TOKENS
    ).add(queries)
    tokens, counts = padded_texts([[query] for query in queries], config.max_query_tokens)
    rows_only = RowsOnly()
    compiled._encode_query(TOKENS)(rows_only, tokens[:, 0], counts[:, 0])
    assert rows_only.rows["query_mask"].all()
    names = ("token_ids", "position_ids")
    for n in range(len(queries)):
        expected = group["index"] == n
        valid = rows_only.rows["segment_ids"][n] > 0
        np.testing.assert_array_equal(rows_only.rows["query_index"][n], np.where(valid, 0, -1))
        for name in names:
            np.testing.assert_array_equal(rows_only.rows[name][n][valid], group[name][expected])


def texts_of(*parts):
    """Returns `[SEP] part [SEP] part` padded, and its length."""
    words, sep = export_samples.tokenizer(), source().features.special_ids.sep
    text = [token for part in parts for token in (sep, *words.encode(part))]
    room = source().batch().max_query_tokens + 2
    return text + [1] * (room - len(text)), len(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The compiled functions for this platform only, because each takes a while."""
    path = tmp_path_factory.mktemp("compiled") / "compiled"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "PLATFORMS", ("cpu",))
        compiled.write(source(), path)
    return path


def call(folder, name, *arrays):
    run = compiled.read(folder / f"{name}{compiled.SUFFIX}")
    return jax.device_get(run(source().params, *arrays))


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_compiled_functions_are_the_model(folder):
    entries = list(model().encode_clips(clips()))
    frames = call(folder, "encode_clip", *padded(clips(), source().batch()))
    for encoded, entry in zip(frames, entries, strict=True):
        assert_close(encoded[: len(entry.frames)], entry.frames)
    words = [export_samples.tokenizer().encode(text) for text in TEXTS]
    tokens = np.zeros((len(TEXTS), source().batch().max_query_tokens), np.int32)
    for row, query in zip(tokens, words, strict=True):
        row[: len(query)] = query
    queries = call(folder, "encode_query", tokens, np.array([*map(len, words)], np.int32))
    assert_close(queries, model().encode_queries(TEXTS))
    lengths = np.array([len(entry.frames) for entry in entries], np.int32)
    scores = call(folder, "score", queries, frames, lengths)
    unit = queries / np.linalg.norm(queries, axis=-1, keepdims=True)
    for n, entry in enumerate(entries):
        unit_frames = entry.frames / np.linalg.norm(entry.frames, axis=-1, keepdims=True)
        assert_close(scores[:, n], (unit @ unit_frames.T).max(1))
    logits = call(folder, "spans", queries, frames[:3], lengths[:3])
    valid = np.arange(tiny.MAX_FRAMES) < lengths[:3, None]
    expected = export_samples.merged().span_head(queries, frames[:3], valid)
    jax.tree.map(assert_close, logits, expected)


def test_compiled_answers_are_the_models(folder):
    answers, count = ["a circle", "the blue square", "it"], len(clips())
    arrays = padded(clips(), source().batch())
    texts, counts = zip(*(texts_of("then a red", answer) for answer in answers), strict=True)
    text = np.array([texts] * count, np.int32), np.array([counts] * count, np.int32)
    answered = call(folder, "answer", *arrays, *text)
    texts, counts = texts_of("it spins")
    text = np.array([[texts]] * count, np.int32), np.array([[counts]] * count, np.int32)
    judged = call(folder, "entails", *arrays, *text)
    moments = np.stack([np.zeros(count, np.int32), arrays[1]], axis=1)
    described = call(folder, "caption", *arrays, moments)
    sep = source().features.special_ids.sep
    for n, clip in enumerate(clips()):
        logits, start, end = (x[n] for x in answered)
        answer = model().answer(clip, "then a red", answers)
        weights = np.exp(logits - logits.max())
        assert_close(answer.probabilities, weights / weights.sum())
        assert answer.best == logits.argmax()
        first, last = (round(second / SECONDS) for second in answer.moment)
        frames = len(clip.frame_features)
        assert 0 <= first < last <= frames
        pairs = [start[a] + end[b] for a in range(frames) for b in range(a, frames)]
        assert_close(start[first] + end[last - 1], max(pairs))
        assert_close(model().entails(clip, "it spins"), 1 / (1 + np.exp(-judged[n, 0])))
        tokens = described[n].tolist()
        tokens = tokens[: tokens.index(sep)] if sep in tokens else tokens
        assert model().caption(clip) == export_samples.tokenizer().decode(tokens).strip()
