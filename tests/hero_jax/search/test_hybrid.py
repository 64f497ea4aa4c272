"""Moments are found by what is seen, by what is said, and by both."""

import dataclasses

import numpy as np
import pytest

from data.errors import InputError
from hero_jax import search
from hero_jax.index import Line, Writer, migrate, open_index
from hero_jax.search import hybrid
from hero_jax.search.found import FoundMoment
from tests.hero_jax.index.index_samples import entry, make, needs
from tests.hero_jax.inference.export_samples import clips, model


def moment(video_id, start, end):
    return FoundMoment(video_id, video_id, start, end, 7.0, ())


def test_ranks_are_joined_and_a_line_counts_for_the_moment_that_has_it():
    seen = [moment("a", 0, 5), moment("b", 0, 5), moment("a", 4, 9)]
    spoken = [moment("b", 4, 6), moment("c", 1, 2), moment("a", 4, 5), moment("b", 0, 1)]
    fused = hybrid.fused(seen, spoken, 0.75)
    expected = [
        ("b", 0, 5, 0.25 / 62 + 0.75 / 61),
        # The better of the two that have the line.
        ("a", 0, 5, 0.25 / 61 + 0.75 / 63),
        ("c", 1, 2, 0.75 / 62),
        # The moment that has it counts for another line already.
        ("b", 0, 1, 0.75 / 64),
        ("a", 4, 9, 0.25 / 63),
    ]
    assert [(one.video_id, one.start, one.end) for one in fused] == [one[:3] for one in expected]
    assert [one.score for one in fused] == pytest.approx([one[3] for one in expected])
    assert [one.video_id for one in hybrid.fused([], spoken, 1.0)] == ["b", "c", "a", "b"]


def test_the_line_with_the_rarest_words_is_the_moment(tmp_path):
    lines = (Line(0, 2, "the the cat"), Line(3.5, 4, "a ring"), Line(4, 9, "the the end"))
    make(tmp_path)
    with Writer(tmp_path) as writer:
        for name, video_id, part in (
            ("one#0", "one", lines),
            ("one#1", "one", lines[1:]),
            ("two", "two", lines[::2]),
        ):
            new = dataclasses.replace(entry(name, 0), video_id=video_id, lines=part)
            writer.add([new])
    found = hybrid.spoken_moments(open_index(tmp_path), "the RING?", 9)
    # The same line of the other window is no second moment, and no moment is shorter than a frame.
    assert [(one.video_id, one.start, one.end) for one in found] == [
        ("one", 3.5, 5.0),
        ("two", 0, 2),
    ]
    assert [line.text for line in found[0].lines] == ["a ring", "the the end"]
    assert hybrid.spoken_moments(open_index(tmp_path), "nobody", 9) == []


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Films in folders; the second says what no other does."""
    films = [
        dataclasses.replace(clip, clip_id=name, video_id=name)
        for clip, name in zip(clips()[2:], ("x/1", "x/2", "y/1"), strict=True)
    ]
    new = tuple("a unicorn" if not n else text for n, text in enumerate(films[1].subtitle_texts))
    films[1] = dataclasses.replace(films[1], subtitle_texts=new)
    return search.build_index(model(), films, tmp_path_factory.mktemp("films") / "index")


TEXTS = ["unicorn", "it spins"]


def found(index, **named):
    return [[one.video_id for one in row] for row in search.search(model(), index, TEXTS, **named)]


def test_a_search_by_what_is_said(index):
    seen = search.search(model(), index, TEXTS, top=50)
    assert search.search(model(), index, TEXTS, top=50, said=0, exact=True) == seen
    (said, *_), _ = search.search(model(), index, TEXTS, said=1)
    assert said.video_id == "x/2"
    assert "a unicorn" in [line.text for line in said.lines]
    both, _ = search.search(model(), index, TEXTS, top=50, said=0.5)
    borders = {(one.video_id, one.start, one.end) for one in seen[0]}
    assert borders <= {(one.video_id, one.start, one.end) for one in both}
    assert both[0].video_id == "x/2"
    assert [one.score for one in both] == sorted((one.score for one in both), reverse=True)


@pytest.mark.parametrize("said", [0.0, 0.5, 1.0])
def test_filters_hold_for_both(index, said):
    everything = found(index, top=50, said=said)
    for filters, kept in (
        ({"videos": ["x/2", "y/1"]}, {"x/2", "y/1"}),
        ({"folder": "x"}, {"x/1", "x/2"}),
        ({"folder": "x", "videos": ["x/2"]}, {"x/2"}),
        ({"videos": []}, set()),
    ):
        for row, unfiltered in zip(
            found(index, top=50, said=said, **filters), everything, strict=True
        ):
            assert set(row) == kept & set(unfiltered)


@pytest.mark.parametrize("exact", [False, True])
def test_both_stores_find_the_same(index, tmp_path, monkeypatch, exact):
    needs("lance")
    from hero_jax.index import lance_store

    monkeypatch.setattr(lance_store, "INDEXED_FROM", 1)
    migrate(index.path, tmp_path / "lance", "lance")
    other = open_index(tmp_path / "lance")
    assert other.candidates(np.ones(index.width, np.float32), 3) is not None
    for given in ({}, {"said": 0.5}, {"folder": "x"}, {"said": 1.0, "videos": ["x/2"]}):
        rows = [search.search(model(), one, TEXTS, exact=exact, **given) for one in (index, other)]
        for expected, moments in zip(*rows, strict=True):
            assert [one.score for one in moments] == pytest.approx([one.score for one in expected])
            alike = [
                [dataclasses.replace(one, score=0.0) for one in row] for row in (expected, moments)
            ]
            assert alike[0] == alike[1]


@pytest.mark.parametrize("said", [-0.1, 1.1])
def test_a_weight_beyond_its_range_is_refused(index, said):
    with pytest.raises(InputError, match=f"said={said} is no weight: choose one from 0 to 1"):
        search.search(model(), index, TEXTS, said=said)
