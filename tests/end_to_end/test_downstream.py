"""Downstream tasks end to end: one run of all families, its predictions and its export."""

import base64
import contextlib
import io
import json
import re
import shutil

import jax
import numpy as np
import pytest

from data.errors import InputError
from data.records.reader import QuerySplit
from hero_jax import export
from hero_jax.conversion.state_dict import from_state_dict
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.experiment.experiment import Experiment
from hero_jax.index.index import Index
from hero_jax.inference import compiled
from hero_jax.inference.model import Model, load
from hero_jax.search import __main__ as search
from hero_jax.search.engine import search as search_index
from hero_jax.training.evaluate import evaluate_checkpoint
from tests.end_to_end.downstream import PARTS, SAVED, STEPS, build_annotated, make, multitask
from tests.end_to_end.harness import (
    SECONDS_PER_FEATURE,
    assert_same_bits,
    make_program,
    picture,
    saved,
    scalars,
    train,
)

FILES = (
    "msrvtt_asr-clips.json",
    "tvr-moments.json",
    "tvqa-answers.json",
    "violin-labels.json",
    "tvc-captions.jsonl",
)

COMPILED = {"encode_clip", "encode_query", "score", "spans", "answer", "entails", "caption"}


@pytest.fixture(scope="module", autouse=True)
def no_java():
    """Leaves METEOR out: starting Java for it takes longer than all evaluations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Datasets of every type."""
    folder = tmp_path_factory.mktemp("annotated")
    build_annotated(folder)
    return folder


@pytest.fixture(scope="module")
def program(runs, folder):
    """The compiled functions of all families."""
    return make_program(multitask(folder, runs))


@pytest.fixture(scope="module")
def trained(runs, folder, program, tmp_path_factory):
    """The workdir of a run of all families on one device."""
    workdir = tmp_path_factory.mktemp("trained")
    train(multitask(folder, runs), workdir, program)
    return workdir


@pytest.fixture(scope="module")
def resumed(runs, folder, program, trained, tmp_path_factory):
    """The workdir of the same run, resumed in its middle, with predictions of the test split."""
    workdir = tmp_path_factory.mktemp("resumed")
    checkpoint = f"checkpoints/{SAVED}"
    shutil.copytree(trained / checkpoint, workdir / checkpoint)
    train(multitask(folder, runs), workdir, program)
    test = {f"parts__{part}__data__eval_split": "test" for part in PARTS}
    evaluate_checkpoint(multitask(folder, runs, **test), str(workdir), program)
    return workdir


@pytest.mark.parametrize("item", ["state", "stream"])
def test_a_resumed_run_ends_with_the_same_bits(trained, resumed, item):
    assert_same_bits(saved(resumed, STEPS, item), saved(trained, STEPS, item))


def reported(workdir):
    """Losses and metrics by name and step."""
    found = scalars(workdir)
    return {key: found[key] for key in found if key[0].startswith(("train/", "eval/"))}


def test_every_task_is_trained_and_evaluated(trained):
    for phase in ("train", "eval"):
        names = [name for name, _ in reported(trained) if name.startswith(f"{phase}/")]
        assert {name.split("/")[1] for name in names} >= set(PARTS)


@pytest.mark.slow
def test_eight_devices_train_and_score_as_one(runs, folder, trained, eight_devices, tmp_path):
    eight_devices(train, multitask(folder, runs), tmp_path)
    # The other process may have started with Java on its path.
    found = {key: value for key, value in reported(tmp_path).items() if "meteor" not in key[0]}
    assert found == pytest.approx(reported(trained), rel=1e-4, abs=1e-5)


def test_a_split_without_labels_gives_prediction_files(resumed, folder):
    workdir = resumed
    texts = {name: (workdir / f"predictions-test-{STEPS}" / name).read_text() for name in FILES}
    moments = json.loads(texts["tvr-moments.json"])
    assert moments["SVMR"] == []
    assert len(moments["video2idx"]) == 6
    names = asked(folder, "query")
    for ranking in ("VCMR", "VR"):
        assert {entry["desc_id"] for entry in moments[ranking]} == names
        for entry in moments[ranking]:
            scores = [row[3] for row in entry["predictions"]]
            assert scores == sorted(scores, reverse=True)
            assert scores
    clips = json.loads(texts["msrvtt_asr-clips.json"])
    assert clips.keys() == {"video2idx", "VR"}
    assert all(len(entry["predictions"]) == 6 for entry in clips["VR"])
    answers = json.loads(texts["tvqa-answers.json"])
    assert answers.keys() == asked(folder, "question")
    assert set(answers.values()) <= set(range(5))
    labels = json.loads(texts["violin-labels.json"])
    assert labels.keys() == asked(folder, "statement")
    assert set(labels.values()) <= {0, 1}
    captions = [json.loads(line) for line in texts["tvc-captions.jsonl"].splitlines()]
    assert len(captions) == len(asked(folder, "caption"))
    assert all(len(caption["ts"]) == 2 for caption in captions)
    # A split without labels has no scores.
    scores = json.loads((workdir / f"evaluation-test-{STEPS}.json").read_text())
    assert not any("accuracy" in name or "r@" in name or "cider" in name for name in scores)


def on_eight_devices(out, index, sentences):
    """Searches with an export that was made on one device; returns what `query --json` prints."""
    assert jax.device_count() == 8
    model, texts = load(out), sentences.read_text().splitlines()
    tokens = np.zeros((len(texts), model.exported.batch()["max_query_tokens"]), np.int32)
    counts = np.zeros(len(texts), np.int32)
    for n, text in enumerate(texts):
        words = model.tokenizer.encode(text)
        tokens[n, : len(words)], counts[n] = words, len(words)
    encode = compiled.read(out / "compiled" / f"encode_query{compiled.SUFFIX}")
    vectors = encode(model.exported.params, tokens, counts)
    np.testing.assert_allclose(vectors, model.encode_queries(texts), rtol=1e-3, atol=1e-4)
    options = [f"--model={out}", f"--index={index}", f"--file={sentences}", "--top=9", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        search.main(["query", *options])
    return printed.getvalue()


def test_an_export_searches_as_evaluation_does(resumed, folder, eight_devices, tmp_path, capsys):
    workdir, out, index = resumed, tmp_path / "export", str(tmp_path / "index")
    # What a system leaves in a new folder does not fill it.
    out.mkdir()
    (out / ".DS_Store").write_text("left")
    export.export(workdir, out)
    assert f"{STEPS} steps" in (out / "README.md").read_text()
    assert (out / ".DS_Store").read_text() == "left"
    assert {path.stem for path in (out / "compiled").glob("*.jaxexport")} == COMPILED
    model, data = f"--model={out}", f"--data={folder / 'query'}"
    build = ["index", model, data, "--split=test", f"--index={index}", "--dtype=float32"]
    search.main(build)
    moments = json.loads((workdir / f"predictions-test-{STEPS}" / FILES[1]).read_text())
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("".join(entry["desc"] + "\n" for entry in moments["VCMR"]))
    printed = eight_devices(on_eight_devices, out, index, sentences)
    lines = [json.loads(line) for line in printed.splitlines()]
    names = {number: name for name, number in moments["video2idx"].items()}
    for line, entry in zip(lines, moments["VCMR"], strict=True):
        assert line["query"] == entry["desc"]
        found = [[one["clip_id"], one["start"], one["end"]] for one in line["found"]]
        expected = [[names[clip], *times] for clip, *times, _ in entry["predictions"]]
        assert found == expected[:9]
    # The run itself, without an export, finds the same.
    live, sentence = Model(export.from_run(workdir, STEPS)), lines[0]["query"]
    first = search_index(live, Index(index), [sentence], top=3)[0]
    assert [one.clip_id for one in first] == [one["clip_id"] for one in lines[0]["found"][:3]]

    def query(*options):
        capsys.readouterr()
        search.main(["query", model, f"--index={index}", sentence, "--json", *options])
        return json.loads(capsys.readouterr().out)["found"]

    page = tmp_path / "found.html"
    everything = query(f"--page={page}", data)
    assert sentence in page.read_text()
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page.read_text())
    inside = [
        picture(one["clip_id"], frame)
        for one in everything
        for frame in range(
            round(one["start"] / SECONDS_PER_FEATURE), round(one["end"] / SECONDS_PER_FEATURE)
        )
    ]
    assert {*map(base64.b64decode, pictures)} <= {*inside}
    assert len(pictures) >= len(everything)
    best = everything[0]["clip_id"]
    assert query("--exact") == everything
    of_best = query(f"--video={everything[0]['video_id']}", "--said=0")
    assert of_best[0] == everything[0]
    assert {one["video_id"] for one in of_best} == {everything[0]["video_id"]}
    search.main(["delete", best, f"--index={index}"])
    assert best not in [one["clip_id"] for one in query()]
    search.main(["add", model, data, "--split=test", f"--index={index}"])
    search.main(["compact", f"--index={index}"])
    assert query() == everything
    with pytest.raises(InputError, match="exists already"):
        export.export(workdir, out)


def test_a_run_goes_back_to_pytorch_and_comes_back(resumed, program, runs, tmp_path):
    workdir, path = resumed, tmp_path / "hero.pt"
    export.export_torch(workdir, path)
    drawn = program.host_params()
    vocab_size = runs.metadata.vocab_size
    params, report = from_state_dict(read_state_dict(path), drawn, vocab_size, "hero.pt")
    assert not report.missing
    assert not report.unused
    exported, words = export.from_run(workdir).params, "cross_modal/text_embedding/word"
    # Padding rows beyond the vocabulary, which nothing reads, are not in the original.
    for arrays in (params, exported):
        arrays[words] = arrays[words][:vocab_size]
    assert_same_bits(params, exported)


def asked(folder, query_type):
    records = QuerySplit(folder / query_type, "test")
    return {records.read(n).query_id for n in range(len(records))}


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        ("tvr", {"data__name": "question"}, ["question annotations", "'query'"]),
        ("tvr", {"data__eval_split": "trial"}, ["no split 'trial'"]),
        ("tvr", {"data__name": "query,question"}, ["has to be one dataset"]),
        ("tvr", {"moment_retrieval__min_span": 9}, ["min_span=9", "allow no span"]),
        ("tvr", {"moment_retrieval__ranking": "best"}, ["moment_retrieval.ranking='best'"]),
        ("tvr", {"model__feature_size": 9}, ["model.feature_size=10"]),
        ("tvr", {"batch__max_query_tokens": 40}, ["max_query_tokens + 1 is 41"]),
        ("tvqa", {"batch__choices": 4}, ["has 5 answers", "batch.choices"]),
        ("tvqa", {"batch__max_query_tokens": 1}, ["no query to train on", "more than 1 tokens"]),
        ("tvqa", {"data__train_split": "test"}, ["no query to train on", "without a label"]),
        ("violin", {"batch__max_tokens": 60}, ["text_positions=64"]),
        ("tvc", {"captioning__decoding": "guess"}, ["captioning.decoding='guess'"]),
        ("tvc", {"batch__max_query_tokens": 64}, ["decoder_positions=64"]),
        ("tvc", {"data__train_split": "test"}, ["moments without a caption"]),
    ],
)
def test_a_setting_that_does_not_fit_is_named(runs, folder, config, changes, words):
    with pytest.raises(InputError) as caught:
        Experiment(make(folder, runs, config, **changes))
    for word in words:
        assert word in str(caught.value)


def test_data_without_annotations_are_refused(runs, folder):
    config = make(folder, runs, "tvr", data__dir=str(runs.dataset.parent), data__name="tiny")
    config.data.train_split = "train"
    with pytest.raises(InputError, match=r"split 'train' of .*tiny has no annotations"):
        Experiment(config)
