"""A model that was read from an export encodes, searches, answers and describes."""

import codecs
import copy
import dataclasses
import json
import warnings

import numpy as np
import pytest

from data.errors import InputError
from hero_jax import sharding
from hero_jax.index.index import Index
from hero_jax.inference import exported
from hero_jax.inference.model import CLIPS_AT_ONCE, Model, load
from hero_jax.retrieval.moments import RankingSettings
from hero_jax.retrieval.ranking import Corpus, rank
from hero_jax.retrieval.scan import best_clips
from hero_jax.search.engine import add_clips, build_index, search
from tests.hero_jax import tiny
from tests.hero_jax.inference import export_samples
from tests.hero_jax.inference.export_samples import SECONDS, WORDS, clips, model, source

TEXTS = ["a red circle jumps", "it spins", "the blue square and then a red square"]


def test_a_clip_is_encoded_the_same_whatever_comes_with_it():
    together = list(model().encode_clips(clips()))
    for clip, entry in zip(clips(), together, strict=True):
        (alone,) = model().encode_clips([clip])
        np.testing.assert_allclose(alone.frames, entry.frames, rtol=1e-5, atol=1e-5)
    # More than one batch.
    many = [
        dataclasses.replace(clip, clip_id=f"{clip.clip_id}-{turn}")
        for turn in range(4)
        for clip in clips()
    ]
    assert len(many) > CLIPS_AT_ONCE
    entries = list(model().encode_clips(many))
    assert [entry.clip_id for entry in entries] == [clip.clip_id for clip in many]
    for entry, other in zip(entries, together * 4, strict=True):
        np.testing.assert_allclose(entry.frames, other.frames, rtol=1e-5, atol=1e-5)


def test_search_ranks_as_evaluation_does(tmp_path):
    index = build_index(model(), clips(), tmp_path / "index", "float32")
    entries = list(model().encode_clips(clips()))
    frames = np.zeros((len(entries), tiny.MAX_FRAMES, model().width), np.float32)
    for row, entry in zip(frames, entries, strict=True):
        row[: len(entry.frames)] = entry.frames
    lengths = np.array([len(entry.frames) for entry in entries])
    mesh = sharding.make_mesh(tiny.make_config().mesh)
    ranking = rank(
        export_samples.merged().span_head,
        model().encode_queries(TEXTS),
        Corpus(frames, lengths, mesh),
        # A search finds as many as are asked for; an evaluation, as many as the original's sees.
        RankingSettings(**source().description["ranking"] | {"nms_candidates": 200}),
    ).vcmr_nms
    found = search(model(), index, TEXTS, top=7)
    for n, moments in enumerate(found):
        expected = [
            (entries[clip].clip_id, span[0] * SECONDS, (span[1] + 1) * SECONDS)
            for clip, span in zip(ranking.clips[n, :7], ranking.spans[n, :7], strict=True)
        ]
        assert [(one.clip_id, one.start, one.end) for one in moments] == expected
        scores = [one.score for one in moments]
        np.testing.assert_allclose(scores, ranking.scores[n, :7], rtol=1e-4)
        for one in moments:
            clip = clips()[int(one.clip_id[1:])]
            inside = (clip.subtitle_starts < one.end) & (clip.subtitle_ends > one.start)
            texts = [text for text, there in zip(clip.subtitle_texts, inside, strict=True) if there]
            assert [line.text for line in one.lines] == texts


@pytest.mark.parametrize("block", [1, 4_000, 1 << 20])
def test_blocks_change_nothing(tmp_path, block):
    index = build_index(model(), clips(), tmp_path / "index", "float32")
    queries = model().encode_queries(TEXTS)
    scores, best = best_clips(index, queries, 3, block_bytes=block)
    others, same = best_clips(index, queries, 3)
    np.testing.assert_array_equal(best, same)
    np.testing.assert_allclose(scores, others, rtol=1e-5)


def long_clip():
    rng = np.random.default_rng(1)
    lines = [(3.0 * n, 3.0 * n + 2.5, f"a red circle {n}") for n in range(12)]
    return model().clip("film", rng.normal(size=(26, 6)).astype(np.float16), lines, start=100.0)


def test_a_long_clip_is_windows_in_time_of_its_video(tmp_path):
    clip, step = long_clip(), SECONDS
    entries = list(model().encode_clips([clip]))
    firsts = [round((entry.start - 100.0) / step) for entry in entries]
    assert firsts == [0, 4, 8, 12, 16, 17]
    covered = {n for first, e in zip(firsts, entries, strict=True) for n in range(first, first + 9)}
    assert covered == set(range(26))
    index = build_index(model(), [clip], tmp_path / "index", "float32")
    assert {name for _, name in index.clip_ids()} == {f"film#{n}" for n in range(6)}
    (found,) = search(model(), index, ["a red circle 4"], top=50)
    assert {one.video_id for one in found} == {"film"}
    for n, one in enumerate(found):
        assert 100.0 <= one.start < one.end <= 100.0 + 26 * step
        for other in found[:n]:
            shared = min(one.end, other.end) - max(one.start, other.start)
            union = max(one.end, other.end) - min(one.start, other.start)
            assert shared / union <= 0.5
        for line in one.lines:
            number = int(line.text.rpartition(" ")[2])
            assert (line.start, line.end) == (100.0 + 3.0 * number, 100.0 + 3.0 * number + 2.5)


def test_a_clip_that_is_replaced_leaves_no_windows(tmp_path):
    path = tmp_path / "index"
    build_index(model(), [long_clip(), clips()[1]], path, "float32")
    short = dataclasses.replace(clips()[4], clip_id="film")
    assert add_clips(model(), [short], path) == (1, 6)
    assert {name for _, name in Index(path).clip_ids()} == {"film", "c1"}


def test_an_index_that_cannot_be_built_is_not_left_behind(tmp_path):
    def broken():
        yield clips()[0]
        raise InputError("a damaged record")

    with pytest.raises(InputError, match="a damaged record"):
        build_index(model(), broken(), tmp_path / "index")
    build_index(model(), clips(), tmp_path / "index")


def test_an_empty_index_has_nothing_to_find(tmp_path):
    index = build_index(model(), [], tmp_path / "index")
    assert search(model(), index, TEXTS) == [[], [], []]


def test_what_cannot_be_is_said(tmp_path):
    features = np.zeros((3, 5), np.float32)
    with pytest.raises(InputError, match=r"clip wrong has features of widths \(5,\)"):
        model().clip("wrong", features)
    with pytest.raises(InputError, match=r"NaN or infinite"):
        model().clip("wrong", np.full((3, 6), np.nan, np.float32))
    with pytest.raises(InputError, match="a query is empty"):
        model().encode_queries(["  "])
    with pytest.raises(InputError, match="without answers"):
        model().answer(clips()[0], "what", [])
    index = build_index(model(), clips()[:1], tmp_path / "index")
    with pytest.raises(InputError, match="top=0"):
        search(model(), index, ["it"], top=0)
    params = source().params | {"span_head/start": source().params["span_head/start"] + 1}
    parts = {name: source().description[name] for name in ("model", "data", "batch", "ranking")}
    description = exported.describe(**parts, tasks={}, params=params)
    bare = {path: value for path, value in params.items() if not path.startswith("heads/")}
    other = Model(exported.Exported(description, bare, export_samples.tokenizer()))
    with pytest.raises(InputError, match="made with another model"):
        search(other, index, ["it"])
    for ask in (
        lambda: other.answer(clips()[0], "what", ["a"]),
        lambda: other.entails(clips()[0], "it spins"),
        lambda: other.caption(clips()[0]),
    ):
        with pytest.raises(InputError, match="was not trained to"):
            ask()


def test_a_long_query_is_cut_and_told():
    most = source().batch().max_query_tokens
    with pytest.warns(UserWarning, match=rf"is cut to {most}"):
        cut = model().encode_queries([WORDS * 1000])
    words = export_samples.tokenizer()
    short = words.decode(words.encode(WORDS)[:most])
    with warnings.catch_warnings(action="error"):
        np.testing.assert_allclose(cut, model().encode_queries([short]), rtol=1e-5)


def test_a_clip_of_more_words_than_a_batch_has_rows_for():
    lines = [(0.1 * n, 0.1 * n + 0.1, WORDS) for n in range(90)]
    features = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    clip = model().clip("words", features, lines)
    many = source(rows_per_group=1, clips_per_group=16)
    (entry,) = Model(many).encode_clips([clip])
    (expected,) = model().encode_clips([clip])
    np.testing.assert_allclose(entry.frames, expected.frames, rtol=1e-5, atol=1e-5)


def test_an_export_of_an_earlier_version_has_a_frame_row_for_each_clip():
    older = copy.deepcopy(source())
    for one in (older.description, *older.description["tasks"].values()):
        limits = one["batch"].items()
        one["batch"] = {name: value for name, value in limits if "frame_row" not in name}
    for found, expected in zip(
        Model(older).encode_clips(clips()), model().encode_clips(clips()), strict=True
    ):
        np.testing.assert_allclose(found.frames, expected.frames, rtol=1e-5, atol=1e-5)
    asked = clips()[0], "what is it", ["red", "blue"]
    found, expected = (one.answer(*asked).probabilities for one in (Model(older), model()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def write(tmp_path, description=None, params=None, words=None):
    description = description or source().description
    (tmp_path / exported.DESCRIPTION).write_text(json.dumps(description))
    (words or export_samples.tokenizer()).save(tmp_path / exported.TOKENIZER)
    content = exported.safetensors.numpy.save(params or source().params)
    (tmp_path / exported.WEIGHTS).write_bytes(content)
    return tmp_path


def test_an_export_is_read_back(tmp_path):
    found = load(write(tmp_path))
    np.testing.assert_array_equal(
        found.encode_queries(TEXTS), model().encode_queries(TEXTS), strict=True
    )
    assert found.identity == model().identity


def test_a_description_that_an_editor_marked_is_read(tmp_path):
    path = write(tmp_path) / exported.DESCRIPTION
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert load(tmp_path).identity == model().identity


def test_a_wrong_export_is_told(tmp_path):
    with pytest.raises(InputError, match="is not an exported model"):
        load(tmp_path)
    folder = write(tmp_path, source().description | {"format": 0})
    with pytest.raises(InputError, match="export of format 0, and"):
        load(folder)
    other = export_samples.Tokenizer.train(["something else entirely"], 290)
    with pytest.raises(InputError, match="not the tokenizer"):
        load(write(tmp_path, words=other))
    shorter = source().params | {"span_head/start": np.zeros(4, np.float32)}
    with pytest.raises(InputError, match=r"model\.json or .*weights\.safetensors is not as it was"):
        load(write(tmp_path, params=shorter))
    with pytest.raises(InputError, match=r"span_head/start of shape \(4,\)"):
        dataclasses.replace(source(), params=shorter).model()
    folder = write(tmp_path)
    (folder / exported.WEIGHTS).write_bytes(b"garbage")
    with pytest.raises(InputError, match="cannot be read"):
        load(folder)
    (folder / exported.DESCRIPTION).write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        load(folder)


def test_a_bit_that_changed_in_the_weights_is_found(tmp_path):
    path = write(tmp_path) / exported.WEIGHTS
    content = bytearray(path.read_bytes())
    for place in (len(content) - 1, len(content) // 2):
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"safetensors is not as it was exported: copy the"):
            load(tmp_path)
        content[place] ^= 1
    path.write_bytes(content)
    assert load(tmp_path).identity == model().identity


def test_a_limit_that_changed_in_the_description_is_found(tmp_path):
    batch = source().description["batch"] | {"max_frames": 99}
    with pytest.raises(InputError, match=r"model\.json or .* is not as it was exported"):
        load(write(tmp_path, source().description | {"batch": batch}))


def test_subtitles_need_times_that_can_be():
    with pytest.raises(InputError, match="a subtitle lasts from 3"):
        model().clip("c", np.zeros((3, 6), np.float32), [(3.0, 1.0, "it")])
    # A subtitle without words is read as one.
    (entry,) = model().encode_clips(
        [model().clip("c", np.zeros((3, 6), np.float32), [(0.0, 4.5, "")])]
    )
    assert np.isfinite(entry.frames).all()
