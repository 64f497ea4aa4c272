"""Files beside features name their networks, from a folder to a dataset's metadata."""

import json
import unicodedata
from fractions import Fraction

import numpy as np
import pytest

from data.errors import InputError
from data.report import Report
from data.schema import DatasetMetadata, FeatureIdentity, records_dir
from data.show.describe import describe as describe_shown
from data.show.shown import find
from data.sources.feature_identity import UNDESCRIBED
from data.sources.feature_part import UNREAD
from data.sources.features import FeatureParts
from data.validate import validate
from data.validate.description import describe as describe_validated
from tests.data.sources.described import WEIGHTS, describe, describe_all
from tests.data.sources.raw_samples import Raw

RESNET = FeatureIdentity("resnet", WEIGHTS, False)
OTHERS = {
    "network": "clip-vit",
    "weights": "f" * 64,
    "seconds_per_feature": "2",
    "even_sampling": True,
}


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path)


def origins(raw, ids="abcde"):
    report = Report()
    found = FeatureParts(raw.features, report=report).origins(set(ids), report)
    return found, report.counts


def test_a_part_is_of_the_network_that_its_files_name(raw):
    assert origins(raw) == ((None, None), {})
    describe_all(raw.features[1], network="slowfast")
    (first, second), counts = origins(raw)
    assert first is None
    assert second.identity == FeatureIdentity("slowfast", WEIGHTS, False)
    assert second.seconds_per_feature == Fraction(3, 2)
    assert counts == {}


@pytest.mark.parametrize("field", OTHERS)
def test_files_of_one_part_are_made_alike(raw, field):
    describe_all(raw.features[0])
    other = describe(raw.features[0] / "d.npz", **{field: OTHERS[field]})
    with pytest.raises(InputError) as caught:
        origins(raw)
    message = str(caught.value)
    for said in ["a.npz has features of resnet", "d.npz has", "weights " + WEIGHTS[:12]]:
        assert said in message
    assert WEIGHTS not in message
    assert {"even_sampling": "evenly spaced"}.get(field, str(OTHERS[field])[:12]) in message
    # A video that is not used does not matter.
    assert origins(raw, "abce")[0][0].identity == RESNET
    other.unlink()
    assert origins(raw)[0][0].identity is None


def test_some_files_that_say_nothing_make_a_part_unknown(raw):
    describe_all(raw.features[0])
    for video_id in "bd":
        (raw.features[0] / f"{video_id}.json").unlink()
    (origin, _), counts = origins(raw)
    assert (origin.identity, origin.seconds_per_feature) == (None, Fraction(3, 2))
    assert counts == {UNDESCRIBED: 2}
    assert origins(raw, "ace")[0][0].identity == RESNET


DAMAGED = {
    "empty": b"",
    "cut": b'{"network": "resnet", "weights',
    "binary": bytes(range(256)),
    "a list": b"[1, 2]",
    "a number": b"7",
    "deep": b"[" * 100_000,
    "numbers of frames": json.dumps({"a": 6}).encode(),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_other_files_beside_features_are_counted_and_passed_over(raw, content):
    folder = raw.features[0]
    (folder / "a.json").write_bytes(content)
    (folder / "id2nframe.json").write_bytes(content)
    found, counts = origins(raw)
    assert found == (None, None)
    assert counts == {UNREAD: 2}
    assert len(FeatureParts(raw.features).read("a", Report())[0]) == 6


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "network": ["", None, 7, "a\nb"],
        "weights": ["", None, ["f"]],
        "seconds_per_feature": ["0", "3/0", "-1", "1e9", 1.5, None, "9" * 5000],
        "even_sampling": [0, "no", None],
        "rows": ["6", None, True],
        "sha256": [None, 5],
    }.items(),
)
def test_descriptions_with_other_fields_are_none(raw, field, values):
    for value in values:
        describe(raw.features[0] / "a.npz", **{field: value})
        found, counts = origins(raw)
        assert (found, counts) == ((None, None), {UNREAD: 1}), value


def test_a_file_that_was_replaced_is_refused(raw):
    file = raw.features[0] / "a.npz"
    describe_all(raw.features[0])
    parts = FeatureParts(raw.features)
    assert len(parts.read("a", Report())[0]) == 6
    values = np.zeros((6, 3), np.float32)
    np.savez(file, features=values)
    with pytest.raises(InputError, match=r"a\.npz is not the file that a\.json beside it describ"):
        parts.read("a", Report())
    np.savez(file, features=values[:5])
    with pytest.raises(InputError, match=r"a\.npz has 5 rows, not the 6 that a\.json"):
        parts.read("a", Report())
    assert len(parts.read("b", Report())[0]) == 6


def test_a_replaced_file_is_a_video_that_cannot_be_used(raw, capsys):
    describe_all(raw.features[0])
    np.savez(raw.features[0] / "b.npz", features=np.zeros((6, 3), np.float32))
    with pytest.raises(SystemExit, match=r"extract it again, or remove b\.json"):
        raw.build()
    raw.build("--on_bad_video=skip")
    assert sorted(raw.read("train")) == ["a", "c"]
    assert "b.npz is not the file" in capsys.readouterr().out


def test_descriptions_have_the_names_of_their_files(tmp_path):
    composed = unicodedata.normalize("NFC", "é")
    decomposed = unicodedata.normalize("NFD", "é")
    for folder, names in (("one", [composed, "x.1"]), ("two", [decomposed, "x.1"])):
        (tmp_path / folder).mkdir()
        for name in names:
            file = tmp_path / folder / f"{name}_clip.npz"
            np.savez(file, features=np.ones((2, 3), np.float32))
            describe(file)
            np.save(tmp_path / folder / f"{name}_fps.npy", np.ones(2))
    for pattern in ("{id}_clip", "{id}_clip.npz"):
        parts = FeatureParts([tmp_path / "one", tmp_path / "two"], [pattern])
        assert parts.ids() == {composed, "x.1"}
        assert [part.identity for part in parts.origins(parts.ids(), Report())] == [RESNET] * 2
        assert [file.name for file in parts.narrowed([composed]).files(composed)] == [
            f"{name}_clip.{suffix}" for name in (composed, decomposed) for suffix in ("npz", "json")
        ]


@pytest.mark.parametrize("seconds", ["", "1.5"])
def test_a_dataset_keeps_the_networks(raw, capsys, seconds):
    for folder, network in zip(raw.features, ("resnet", "slowfast"), strict=True):
        describe_all(folder, network=network)
    raw.build(seconds=seconds)
    out = capsys.readouterr().out
    metadata = DatasetMetadata.load(raw.out)
    assert metadata.features == (RESNET, FeatureIdentity("slowfast", WEIGHTS, False))
    assert metadata.seconds_per_feature == 1.5
    assert metadata.left_out == {}
    words = f"resnet (weights {WEIGHTS[:12]}) + slowfast (weights {WEIGHTS[:12]})"
    for text in [
        out,
        describe_validated(validate(raw.out), 10, 10),
        describe_shown(find(raw.out, "a")),
    ]:
        assert words in text
    assert DatasetMetadata.from_json(json.loads(json.dumps(metadata.to_json()))) == metadata


def test_records_are_the_same_whether_features_are_described_or_not(raw):
    def built():
        raw.build("--overwrite")
        files = [
            *records_dir(raw.out, "clips").glob("*"),
            *records_dir(raw.out, "queries").glob("*"),
        ]
        return {file: file.read_bytes() for file in files if file.name != "metadata.json"}

    plain = built()
    assert DatasetMetadata.load(raw.out).features == (None, None)
    describe_all(raw.features[0])
    assert built() == plain
    assert DatasetMetadata.load(raw.out).features == (RESNET, None)


def test_an_interrupted_build_makes_shards_again_if_a_description_changes(raw):
    def identity(ids):
        return [file.name for i in ids for file in FeatureParts(raw.features).files(i)]

    assert identity("a") == ["a.npz", "a.npz"]
    describe_all(raw.features[0])
    assert identity("ab") == ["a.npz", "a.json", "a.npz", "b.npz", "b.json", "b.npz"]


@pytest.mark.parametrize(
    ("described", "seconds", "said"),
    [
        (["3/2", "3/2"], "2", "seconds_per_feature=2 is not the 3/2 that the files beside"),
        (["3/2", None], "1.4999", "seconds_per_feature=1.4999 is not the 3/2"),
        (["3/2", "2"], "1.5", "one every 3/2 s, and features of resnet"),
        (["3/2", "2"], "", "one every 3/2 s, and features of resnet"),
        # The annotations say that a lasts 9.5 s.
        (["3", "3"], "", "a has 6 frames (.*), but lasts 9.5 s, which makes 3.2 of 3.0 s"),
    ],
)
def test_seconds_per_feature_that_contradict_each_other(raw, described, seconds, said):
    for folder, stated in zip(raw.features, described, strict=True):
        if stated:
            describe_all(folder, seconds_per_feature=stated)
    with pytest.raises(SystemExit) as caught:
        raw.build(seconds=seconds)
    start, _, end = said.partition("(.*)")
    assert start in str(caught.value)
    assert end in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_seconds_per_feature_are_not_taken_from_some_of_the_files(raw):
    raw.write_lines(raw.queries, [{"desc_id": 7, "desc": "red", "type": "v"}])
    describe(raw.features[0] / "a.npz")
    with pytest.raises(SystemExit, match="seconds_per_feature is unknown: give it"):
        raw.build(seconds="")
    with pytest.raises(SystemExit, match="seconds_per_feature=2 is not the 3/2"):
        raw.build(seconds="2")
    raw.build(seconds="1.5")
    metadata = DatasetMetadata.load(raw.out)
    assert metadata.features == (None, None)
    assert metadata.left_out == {UNDESCRIBED: 4}


def test_thirds_of_a_second_may_be_rounded(raw):
    raw.write_lines(raw.queries, [{"desc_id": 7, "desc": "red", "type": "v"}])
    describe_all(raw.features[0], seconds_per_feature="2/3")
    raw.build(seconds="0.6666667")
    assert DatasetMetadata.load(raw.out).seconds_per_feature == 2 / 3


def test_metadata_of_earlier_versions_do_not_know_the_networks(raw):
    raw.build()
    path = records_dir(raw.out, "clips") / "metadata.json"
    content = json.loads(path.read_text())
    assert content.pop("features") == [None, None]
    path.write_text(json.dumps(content))
    assert DatasetMetadata.load(raw.out).features == (None, None)
    assert "features of an unknown network" in describe_validated(validate(raw.out), 10, 10)
    for damaged in (
        [None],
        7,
        [None, {"network": "resnet"}],
        [None, {"network": 1, "weights": "", "even_sampling": False}],
    ):
        path.write_text(json.dumps(content | {"features": damaged}))
        with pytest.raises(InputError, match="does not describe a dataset"):
            DatasetMetadata.load(raw.out)


def test_seconds_per_feature_may_be_a_fraction(raw):
    for folder in raw.features:
        describe_all(folder, seconds_per_feature="3/2")
    raw.build(seconds="3/2")
    assert DatasetMetadata.load(raw.out).seconds_per_feature == 1.5
