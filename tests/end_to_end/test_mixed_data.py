"""Training on datasets by their weights, and on data of another identity if that is accepted."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from data import build as build_dataset
from data.errors import InputError
from data.pipeline.mixture import BLOCK
from data.pipeline.stream import initial_state
from data.schema import FeatureIdentity
from hero_jax.experiment.experiment import Experiment
from hero_jax.training.checkpoint import Checkpoints
from tests.end_to_end.harness import Runs, build, scalars

SHARED = os.environ.get("HERO_SHARED")
STEPS = 8
MIXED = {
    "data__name": "tiny,talks",
    "data__weights": (0.75, 0.25),
    "batch__clips_per_group": 8,
    "optimizer__steps": STEPS,
    # MLM and VSM are evaluated, but VSM is hardly ever drawn to train on: one task without dropout
    # is compiled sooner than four with it.
    "tasks__vsm": 1e-9,
    "tasks__mfm_nce": 0.0,
    "tasks__fom": 0.0,
    "model__dropout": 0.0,
    "model__attention_dropout": 0.0,
}
RESNET = FeatureIdentity("resnet", "d" * 64)
SLOWFAST = FeatureIdentity("slowfast", "e" * 64)
CLIP = FeatureIdentity("clip-vit", "c" * 64)
OTHER_TEXT = "somebody else counts sheep while thunder rolls over quiet hills"


@pytest.fixture(scope="module")
def mixed(runs, tmp_path_factory) -> Runs:
    """Runs with more datasets beside `tiny`: one like it, and some that differ from it."""
    folder = tmp_path_factory.mktemp("mixed")
    shutil.copytree(runs.dataset, folder / "tiny")
    build(folder / "talks")
    build(folder / "wide", widths=(6, 2))
    build(folder / "turned", widths=(4, 6))
    build(folder / "slow", seconds_per_feature=2.0)
    build(folder / "foreign", text=OTHER_TEXT)
    return Runs(folder / "tiny")


@pytest.fixture(scope="module")
def trained(mixed, tmp_path_factory):
    """A run on a mixture: the text that it prints, and its workdir."""
    workdir = tmp_path_factory.mktemp("trained")
    return mixed.train(workdir, **MIXED), workdir


def test_clips_are_trained_on_as_often_as_their_weights_say(trained):
    text, workdir = trained
    logged = scalars(workdir)
    steps = range(1, STEPS + 1)
    clips = {n: sum(logged[f"data/clips/{n}", s] for s in steps) for n in ("tiny", "talks")}
    whole = sum(clips.values())
    assert whole == pytest.approx(sum(logged["data/clips_per_step", s] for s in steps))
    # Half a block may not have had its turn yet, and a clip or two wait.
    assert abs(clips["tiny"] - 0.75 * whole) <= BLOCK / 4 + 2
    for step in steps:
        shares = [logged[f"data/share/{name}", step] for name in clips]
        assert sum(shares) == pytest.approx(1)
        assert shares[0] * logged["data/clips_per_step", step] == pytest.approx(
            logged["data/clips/tiny", step]
        )
    said = re.search(rf"^steps 1 to {STEPS} trained on (.*)$", text, re.MULTILINE)[1]
    assert said == ", ".join(
        f"{count:.0f} clips of {name} ({100 * count / whole:.1f}%)" for name, count in clips.items()
    )


def test_each_source_is_evaluated_and_the_first_has_the_plain_names(trained):
    _, workdir = trained
    results = {name: value for (name, _), value in scalars(workdir).items() if "eval/" in name}
    plain = {name for name in results if name.count("/") == 2}
    assert {"eval/vsm/r@1", "eval/queries/r@1", "eval/mlm/loss"} <= plain
    for name in plain:
        task_metric = name.removeprefix("eval/")
        assert results[name] == results[f"eval/tiny/{task_metric}"]
        assert f"eval/talks/{task_metric}" in results
    assert len(results) == 3 * len(plain)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data__weights": (0.5, 0.5)}, "(25 clips, 50%) and talks (25 clips, 50%)"),
        ({"data__weights": ()}, "(25 clips, 50%) and talks (25 clips, 50%)"),
        ({"data__name": "talks,tiny"}, "not on talks (25 clips, 75%) and tiny"),
        ({"data__name": "tiny", "data__weights": ()}, "not on tiny (25 clips, 100%):"),
    ],
    ids=["weights", "no weights", "order", "one dataset"],
)
def test_a_run_does_not_resume_with_another_mixture(mixed, trained, settings, words):
    checkpoints = Checkpoints(trained[1], read_only=True)
    about = checkpoints.metadata(checkpoints.find("latest"))
    Experiment(mixed.config(**MIXED)).check_same(about, "runs/mine")
    with pytest.raises(InputError) as caught:
        Experiment(mixed.config(**MIXED | settings)).check_same(about, "runs/mine")
    for word in ["is trained on tiny (25 clips, 75%) and talks (25 clips, 25%)", words]:
        assert word in str(caught.value)
    assert "data.weights" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data__weights": (1.0,)}, "data.weights=(1.0,) does not have a number for each"),
        ({"data__weights": (1.0, -0.5)}, "numbers of 0 or more"),
        ({"data__weights": (0, 0.0)}, "not all 0"),
        ({"data__weights": ("a", "b")}, "numbers of 0 or more"),
        ({"data__name": "tiny,tiny"}, "data.name='tiny,tiny' has to name datasets"),
        ({"data__name": "tiny,"}, "data.name='tiny,' has to name datasets"),
        ({"data__name": "tiny,absent"}, "absent does not exist"),
        ({"data__eval_split": "trial"}, "tiny or "),
        ({"data__accept_mismatch": "vocab_size"}, "feature_widths, seconds_per_feature, tokenizer"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_an_invalid_mixture_is_refused(mixed, settings, words):
    with pytest.raises(InputError) as caught:
        Experiment(mixed.config(**MIXED | settings))
    assert words in str(caught.value)


DIFFERENT = {
    "turned": ("feature_widths", "features of widths [6, 4], and dataset 'turned' has [4, 6]"),
    "slow": ("seconds_per_feature", "features of 1.5, and dataset 'slow' has 2.0"),
    "foreign": ("tokenizer", ", and dataset 'foreign' has "),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_data_that_differ_are_mixed_only_if_that_is_accepted_by_name(mixed, capsys, name):
    field, difference = DIFFERENT[name]
    settings = MIXED | {"data__name": f"tiny,{name}"}
    with pytest.raises(InputError) as caught:
        Experiment(mixed.config(**settings))
    assert "dataset 'tiny' has" in str(caught.value)
    assert difference in str(caught.value)
    assert f"data.accept_mismatch={field}" in str(caught.value)
    others = {other for other, _ in DIFFERENT.values()} - {field}
    with pytest.raises(InputError):
        Experiment(mixed.config(**settings, data__accept_mismatch=",".join(others)))
    capsys.readouterr()
    experiment = Experiment(mixed.config(**settings, data__accept_mismatch=field))
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: dataset 'tiny' has")
    assert difference in warning
    assert (
        next(iter(experiment.task_groups[""].batches("train").once(0))).counts[f"clips/{name}"] >= 0
    )


def test_features_of_another_width_are_never_mixed(mixed):
    settings = MIXED | {"data__name": "tiny,wide", "data__accept_mismatch": "feature_widths"}
    with pytest.raises(InputError) as caught:
        Experiment(mixed.config(**settings))
    expected = "'tiny' has features of widths [6, 4], and dataset 'wide' has [6, 2]: build the"
    assert expected in str(caught.value)
    assert "accept_mismatch" not in str(caught.value)


@pytest.mark.parametrize("check", ["check_model", "check_same"])
def test_another_tokenizer_than_the_checkpoints_has_to_be_accepted(mixed, capsys, check):
    # Fixed numbers of rows, since other words need another number.
    rows = {"batch__rows_per_group": 9, "batch__query_rows_per_group": 9}
    about = json.loads(json.dumps(Experiment(mixed.config(**rows)).run_metadata()))
    # As if the same dataset were built with another tokenizer.
    about["sources"][0]["name"] = "foreign"
    refused, accepted = (
        Experiment(mixed.config(**rows, data__name="foreign", data__accept_mismatch=names))
        for names in ("", "seconds_per_feature, tokenizer")
    )
    hashes = [about["data"]["tokenizer"], refused.dataset_metadata.tokenizer]
    with pytest.raises(InputError) as caught:
        getattr(refused, check)(about, "runs/mine")
    assert "data.accept_mismatch=tokenizer" in str(caught.value)
    assert all(found[:12] in str(caught.value) for found in hashes)
    assert not any(found in str(caught.value) for found in hashes)
    getattr(accepted, check)(about, "runs/mine")
    assert "the tokenizer" in capsys.readouterr().err
    about["data"]["special_ids"] = [4, 3, 2, 1]
    with pytest.raises(InputError, match="ids of special tokens") as caught:
        getattr(accepted, check)(about, "runs/mine")
    assert "accept_mismatch" not in str(caught.value)


@pytest.fixture(scope="module")
def of_networks(mixed) -> Runs:
    """The same runs, with datasets of features of networks that are known."""
    folder = mixed.dataset.parent
    for name, first, second in [
        ("known", RESNET, SLOWFAST),
        ("swapped", CLIP, SLOWFAST),
        ("retrained", RESNET, FeatureIdentity("slowfast", "1" * 64)),
        ("even", RESNET, FeatureIdentity("slowfast", "e" * 64, True)),
        ("half", RESNET, None),
    ]:
        build(folder / name, networks=(first, second))
    return Runs(folder / "known")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("swapped", "clip-vit (weights cccccccccccc) + slowfast (weights eeeeeeeeeeee)"),
        ("retrained", "resnet (weights dddddddddddd) + slowfast (weights 111111111111)"),
        ("even", "slowfast (weights eeeeeeeeeeee, frames evenly spaced)"),
    ],
)
@pytest.mark.parametrize("how", ["mixed", "check_model", "check_same"])
def test_features_of_other_networks_have_to_be_accepted(of_networks, capsys, name, words, how):
    about = json.loads(json.dumps(Experiment(of_networks.config()).run_metadata()))
    about["sources"][0]["name"] = name

    def compared(accepted=""):
        if how == "mixed":
            settings = MIXED | {"data__name": f"known,{name}"}
            return Experiment(of_networks.config(**settings, data__accept_mismatch=accepted))
        experiment = Experiment(of_networks.config(data__name=name, data__accept_mismatch=accepted))
        return getattr(experiment, how)(about, "runs/mine")

    with pytest.raises(InputError) as caught:
        compared("feature_widths,tokenizer")
    message = str(caught.value)
    for said in [
        "features of resnet (weights dddddddddddd) + slowfast (weights eeeeeeeeeeee), and",
        f"dataset {name!r} has features of ",
        words,
        "extract its features with the same networks and build it again",
        "data.accept_mismatch=feature_widths,features,tokenizer",
    ]:
        assert said in message
    assert "d" * 13 not in message
    capsys.readouterr()
    compared("features")
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: ")
    assert words in warning
    assert warning.endswith("accepted by data.accept_mismatch")


def test_networks_that_are_known_on_one_side_only_are_warned_of(of_networks, capsys):
    settings = {name: of_networks.config(data__name=name) for name in ("tiny", "known", "half")}
    about = {name: Experiment(config).run_metadata() for name, config in settings.items()}
    # As earlier versions wrote it.
    old = json.loads(json.dumps(about["tiny"]))
    assert old["data"].pop("features") == [None, None]
    about = json.loads(json.dumps(about)) | {"old": old}
    assert about["known"]["data"]["features"][0] == {
        "network": "resnet",
        "weights": "d" * 64,
        "even_sampling": False,
    }
    same = [("tiny", "tiny"), ("tiny", "old"), ("known", "known"), ("half", "half")]
    for name, config in settings.items():
        for other, metadata in about.items():
            experiment = Experiment(config)
            capsys.readouterr()
            experiment.check_model(metadata, "the run in runs/mine")
            warnings = capsys.readouterr().err.splitlines()
            assert len(warnings) == ((name, other) not in same), (name, other)
            assert all("an unknown network" in warning for warning in warnings)


@pytest.fixture(scope="module")
def imports(tmp_path_factory) -> Runs:
    """Runs on the sample corpus and on 40 clips of television that are imported twice."""
    folder = tmp_path_factory.mktemp("imports")
    text, layout = Path(SHARED) / "tvr_text", Path(SHARED) / "official_layout"
    ids = json.loads((layout / "video_db" / "tv" / "id2nframe.json").read_text())
    (folder / "splits.json").write_text(json.dumps({"train": list(ids)[8:], "val": list(ids)[:8]}))
    for name in ("tvr_a", "tvr_b"):
        build_dataset.main(
            [
                *("raw", "--form=tvr", f"--out={folder / name}"),
                f"--features={text / 'features' / 'resnet'}",
                f"--features={text / 'features' / 'slowfast'}",
                f"--subtitles={text / 'subtitles.jsonl'}",
                f"--splits={folder / 'splits.json'}",
                f"--queries={text / 'queries_train.jsonl'}",
                f"--tokenizer={Path(SHARED) / 'roberta_bpe'}",
            ]
        )
    build_dataset.main(["shapes", f"--out={folder / 'shapes'}", "--num_clips=10"])
    return Runs(folder / "tvr_a")


@pytest.mark.shared
def test_the_sample_and_television_do_not_mix_but_two_imports_do(imports):
    with pytest.raises(InputError) as caught:
        Experiment(imports.config(data__name="tvr_a,shapes"))
    assert str(caught.value) == (
        "dataset 'tvr_a' has features of widths [128, 64], and dataset 'shapes' has [128, 80]: "
        "build the dataset to match"
    )
    settings = MIXED | {"data__name": "tvr_a,tvr_b"}
    experiment = Experiment(imports.config(**settings))
    batch, batches = experiment.config.batch, experiment.task_groups[""].batches("train")
    stream = batches.train(0, initial_state(range(batch.groups), batch.max_waiting), 0)
    counts = [next(stream).counts for _ in range(STEPS)]
    a, b = (sum(count[f"clips/{name}"] for count in counts) for name in ("tvr_a", "tvr_b"))
    assert abs(a - 0.75 * (a + b)) <= BLOCK / 4 + 2
