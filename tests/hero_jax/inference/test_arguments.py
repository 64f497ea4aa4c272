"""Arguments that can be meant in several forms are read in each; others are named and described."""

import dataclasses
import functools
import math
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from data.errors import InputError
from data.schema import RawQuery
from hero_jax import search
from hero_jax.index import Index, Writer
from tests.hero_jax.index import index_samples
from tests.hero_jax.inference.export_samples import SECONDS, WIDTHS, clips, model

FEATURES = np.zeros((3, sum(WIDTHS)), np.float32)


@functools.cache
def index():
    """An index of a clip, which no test changes."""
    return search.build_index(model(), clips()[:1], Path(tempfile.mkdtemp()) / "index")


def test_a_string_is_not_taken_for_its_letters(tmp_path):
    """Refuses one string where several are meant."""
    for call, argument in (
        (lambda: search.search(model(), index(), "circle"), "texts is 'circle'"),
        (lambda: model().encode_queries("circle"), "texts is 'circle'"),
        (lambda: model().answer(clips()[0], "what", "circle"), "answers is 'circle'"),
        (
            lambda: model().respond(
                "question_answering", clips()[0], RawQuery("", "", "what", answers="circle")
            ),
            "the query's answers is 'circle'",
        ),
        (lambda: list(model().encode_clips("c0")), "clips is 'c0'"),
        (lambda: search.build_index(model(), "c0", tmp_path / "index"), "clips is 'c0'"),
    ):
        with pytest.raises(InputError, match=f"^{argument}: give a list of .*, even of one$"):
            call()
    assert not (tmp_path / "index").exists()
    path = index_samples.make(tmp_path / "other")
    with Writer(path) as writer:
        writer.add([index_samples.entry(name, 0) for name in ("a", "b", "ab")])
        with pytest.raises(InputError, match=r"^clip_ids is 'ab': give a list of strings"):
            writer.delete("ab")
    assert len(Index(path)) == 3


def test_sentences_may_come_from_anything_that_has_them(tmp_path):
    texts = ["a red circle", "it spins"]
    expected = model().encode_queries(texts)
    for given in (tuple(texts), iter(texts), np.array(texts), dict.fromkeys(texts)):
        np.testing.assert_array_equal(model().encode_queries(given), expected)
    empty = search.build_index(model(), [], tmp_path / "index")
    assert search.search(model(), empty, iter(texts)) == [[], []]
    answers = ["a", "b", "c"]
    expected = model().answer(clips()[0], "what", answers)
    assert model().answer(clips()[0], "what", iter(answers)) == expected


# The same features in every form that can be read.
FORMS = {
    "double": lambda whole, parts: whole.astype(np.float64),
    "strided": lambda whole, parts: np.asfortranarray(whole),
    "list of lists": lambda whole, parts: whole.tolist(),
    "tuple of rows": lambda whole, parts: tuple(whole),
    "JAX": lambda whole, parts: jnp.asarray(whole),
    "JAX bfloat16": lambda whole, parts: jnp.asarray(whole, jnp.bfloat16),
    "list of rows of JAX": lambda whole, parts: list(jnp.asarray(whole)),
    "list of one": lambda whole, parts: [whole],
    "parts": lambda whole, parts: parts,
    "parts one by one": lambda whole, parts: iter(parts),
    "parts as lists": lambda whole, parts: [part.tolist() for part in parts],
    "parts of JAX": lambda whole, parts: tuple(map(jnp.asarray, parts)),
    "nothing masked": lambda whole, parts: np.ma.masked_array(whole),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_an_array_becomes_one(form):
    whole = np.random.default_rng(0).integers(-3, 4, (5, sum(WIDTHS))).astype(np.float32) / 4
    features = FORMS[form](whole, np.split(whole, np.cumsum(WIDTHS)[:-1], axis=1))
    clip = model().clip("c", features, [[0, 1, "it"]], start=np.float32(2))
    np.testing.assert_array_equal(clip.frame_features, whole.astype(np.float16), strict=True)
    assert clip.video_start == 2.0
    assert clip.subtitle_texts == ("it",)


NEEDED = r"floating point numbers \[frames, 6\], or a list of parts of widths \(4, 2\)$"
WRONG_FEATURES = {
    "batch": (FEATURES[None], r"is float32\[1, 3, 6\]: give " + NEEDED),
    "vector": (FEATURES[0], r"is float32\[6\]: give " + NEEDED),
    "integers": (FEATURES.astype(int), r"is int64\[3, 6\]: give " + NEEDED),
    "lists of integers": (FEATURES.astype(int).tolist(), r"is int64\[3, 6\]: give " + NEEDED),
    "objects": (FEATURES.astype(object), r"is object\[3, 6\]: give " + NEEDED),
    "complex": (FEATURES.astype(complex), r"is complex128\[3, 6\]: give " + NEEDED),
    "ragged": ([[0.0] * 6, [0.0]], r"is \[\[.*\]\] \(list\): give " + NEEDED),
    "file": ("film.npy", r"is <U8\[\]: give " + NEEDED),
    "none": (None, r"is object\[\]: give " + NEEDED),
    "empty": ([], r"is float64\[0\]: give " + NEEDED),
    "no frames": (FEATURES[:0], "has no frames"),
    "NaN": (np.full_like(FEATURES, np.nan), "has NaN or infinite values"),
    "masked": (np.ma.masked_array(FEATURES, FEATURES == 0), "has NaN or infinite values"),
    "lengths of parts": ([FEATURES[:, :4], FEATURES[:2, 4:]], r"parts of \[3, 2\] frames"),
}


@pytest.mark.parametrize("name", WRONG_FEATURES)
def test_features_of_a_wrong_form_are_described(name):
    features, reason = WRONG_FEATURES[name]
    with pytest.raises(InputError, match=f"clip c.*{reason}"):
        model().clip("c", features)


@pytest.mark.parametrize(
    ("subtitles", "name"),
    [
        ("it spins", "subtitles is 'it spins'"),
        (["it spins"], r"subtitles\[0\] is 'it spins'"),
        ((0.0, 1.5, "it spins"), r"subtitles\[0\] is 0.0"),
        ([(0, 1, "it"), ("it spins", 0, 1)], r"subtitles\[1\]\[0\] is 'it spins'"),
        ([(0, 1, 2)], r"subtitles\[0\]\[2\] is 2"),
        ([{"start": 0, "end": 1, "text": "it"}], r"subtitles\[0\]\[0\] is 'start'"),
        ([(0, math.nan, "it")], r"subtitles\[0\]\[1\] is nan"),
        ([(0, 1e39, "it")], "a subtitle lasts from 0.0 to 1e.39 seconds"),
    ],
)
def test_subtitles_of_a_wrong_form_are_named(subtitles, name):
    with pytest.raises(InputError, match=f"^clip c: {name}"):
        model().clip("c", FEATURES, subtitles)


@pytest.mark.parametrize("moment", [(-1, 2), (4, 1), (3 * SECONDS, 9), (0, math.inf), (1,), 1.5])
def test_a_moment_that_is_not_in_the_clip_is_refused(moment):
    with pytest.raises(InputError, match=r"^moment.* is .*"):
        model().caption(model().clip("c", FEATURES), moment)


def test_a_clip_of_another_model_is_refused():
    other = dataclasses.replace(clips()[0], frame_features=np.zeros((1, 5), np.float16))
    for call in (
        lambda: list(model().encode_clips([other])),
        lambda: model().entails(other, "it spins"),
        lambda: model().caption(other),
    ):
        with pytest.raises(InputError, match=r"clip c0 has features of width 5, and .* reads 6"):
            call()


def test_a_dtype_is_its_name(tmp_path):
    """A NumPy dtype is false, as nothing is, and must not choose the default."""
    with pytest.raises(InputError, match=r"^dtype is "):
        search.build_index(model(), clips()[:1], tmp_path / "index", np.dtype("float32"))


def test_numbers_of_clips_are_not_rounded():
    for numbers_of_clips in ([0.7], [True], ["0"], [[0]], 0, None):
        with pytest.raises(InputError, match=r"^numbers is .* a list of whole numbers$"):
            index().frames(numbers_of_clips)
    with pytest.raises(InputError, match=r"^number is 0.5"):
        index().describe(0.5)
    np.testing.assert_array_equal(index().frames(np.uint8([0])), index().frames([0]))
    assert len(index().frames([])) == 0
