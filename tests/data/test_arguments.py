"""Arguments of public functions: paths in the home directory, several strings, numbers."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data import arguments
from data.arguments import user_path
from data.building.plan import Building
from data.errors import InputError
from data.records.assembly import make_query
from data.schema import RawQuery
from data.sources.features import FeatureParts
from data.sources.splits import read_splits
from data.tokenizer import Tokenizer
from hero_jax.metrics import captions
from tests.data.clip_samples import TOKENIZER


def test_a_path_begins_in_the_home_directory(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for given, expected in (
        ("~", "/home/me"),
        ("~/x/y", "/home/me/x/y"),
        (Path("~/x"), "/home/me/x"),
        ("x", "x"),
        ("/x/~/y", "/x/~/y"),
        ("x~", "x~"),
        ("~no such user/x", "~no such user/x"),
    ):
        assert user_path(given) == Path(expected)


def test_a_path_in_no_home_directory_is_refused(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # As without a home directory.
    with pytest.raises(InputError, match=r"^~/x is in a home directory that is not known"):
        user_path("~/x")


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", b"x", None, 5, ["x"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InputError, match=r"^out is .*: give .* path"):
        user_path(path, "out")


@pytest.mark.parametrize(
    "call",
    [
        lambda: Building(beam_options="--runner=FlinkRunner"),
        lambda: FeatureParts("features"),
        lambda: FeatureParts(Path("features")),
        lambda: read_splits("splits.json"),
        lambda: Tokenizer.train("a red circle", 300),
        lambda: make_query(RawQuery("q", "c", "what", answers="red"), "question", TOKENIZER),
        lambda: captions.score({1: "a red circle"}, {1: "a red circle"}),
    ],
)
def test_a_string_is_not_taken_for_its_letters(call):
    with pytest.raises(InputError, match=r" is .*: give a list of .*, even of one$"):
        call()


def test_what_is_in_a_list_is_named():
    for values, name in (
        (["a", 5], r"texts\[1\] is 5 \(int\)"),
        ([None], r"texts\[0\] is None"),
        (["\ud800"], r"texts\[0\] is '\\ud800'"),
        ([b"a"], r"texts\[0\] is b'a' \(bytes\)"),
        (5, r"texts is 5 \(int\)"),
    ):
        with pytest.raises(InputError, match=f"^{name}: give "):
            arguments.texts(values, "texts")
    assert arguments.texts(("a", np.str_("b")), "texts") == ["a", "b"]


def test_numbers():
    for value in (2, 2.0, np.float16(2), np.array(2), np.int8(2), Fraction(2)):
        assert arguments.number(value, "start") == 2.0
    for value in ("2", None, math.nan, math.inf, 10**400, 2j, np.array("2"), np.array([2.0])):
        with pytest.raises(InputError, match=r"^start is .*: give a finite number$"):
            arguments.number(value, "start")
    for value in (2, np.int8(2), np.array(2)):
        assert arguments.whole(value, "top", 1) == 2
    for value in (0, 2.0, "2", None, np.array([2])):
        with pytest.raises(InputError, match=r"^top is .*: give a whole number, at least 1$"):
            arguments.whole(value, "top", 1)


def test_descriptions_are_short_and_on_one_line():
    class Wordy:
        def __repr__(self):
            return "many\nwords " * 1000

    assert arguments.described(np.zeros((2, 3), np.float16)) == "float16[2, 3]"
    for value in (Wordy(), "a" * 1000, ["a"] * 1000, {n: n for n in range(1000)}):
        described = arguments.described(value)
        assert "\n" not in described
        assert len(described) < 150
