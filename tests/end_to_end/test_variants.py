"""VALUE's variants end to end: two streams of all families, and a sequence that is no export."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from data.errors import InputError
from hero_jax import export
from hero_jax.conversion.torch.read import read_state_dict
from hero_jax.experiment.experiment import Experiment
from hero_jax.training.checkpoint import Checkpoints
from hero_jax.training.step import Program
from hero_jax.training.two_streams import evaluate_two
from tests.end_to_end.downstream import PARTS, build_annotated, make, multitask
from tests.end_to_end.harness import scalars, train

STEP = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotated")
    build_annotated(folder)
    return folder


def save_untrained(config, workdir):
    """Saves a run's parameters as they are drawn."""
    experiment = Experiment(config)
    state = Program(experiment.config, experiment.tasks, experiment.mesh).init()
    checkpoints = Checkpoints(workdir, best_metric=config.best_metric)
    checkpoints.save(STEP, state, {"": jnp.zeros(1, jnp.int32)}, experiment.run_metadata())
    checkpoints.finish()


def of_channel(folder, runs, channels, **changes):
    return multitask(folder, runs, model__channels=channels, **changes)


@pytest.fixture(scope="module")
def streams(runs, folder, tmp_path_factory):
    """The workdirs of both runs, whose batches and decoders differ."""
    workdirs = [tmp_path_factory.mktemp(channel) for channel in ("video", "subtitle")]
    save_untrained(of_channel(folder, runs, "video"), workdirs[0])
    changes = {
        "parts__tvqa__batch__max_tokens": 12,
        "parts__tvc__captioning__decoder_layers": 1,
        "seed": 5,
    }
    save_untrained(of_channel(folder, runs, "subtitle", **changes), workdirs[1])
    return workdirs


def test_all_families_are_scored_together(runs, folder, streams, monkeypatch):
    # Starting Java for METEOR takes longer than the evaluation.
    monkeypatch.setenv("PATH", "")
    video, subtitle = streams
    results = evaluate_two(of_channel(folder, runs, "video"), video, subtitle)
    assert {name.split("/")[0] for name in results} == set(PARTS)
    assert results["tvqa/questions"] == 12
    name = f"validation-{STEP}-two_streams"
    assert json.loads((video / f"evaluation-{name}.json").read_text()) == results
    found = {path.name for path in (video / f"predictions-{name}").iterdir()}
    assert found >= {
        "msrvtt_asr-clips.json",
        "tvr-moments.json",
        "tvqa-answers.json",
        "violin-labels.json",
        "tvc-captions.jsonl",
    }


def test_runs_that_are_no_two_streams_are_named(runs, folder, streams, tmp_path):
    video, subtitle = streams
    config = of_channel(folder, runs, "video")
    with pytest.raises(InputError, match=rf"{video} has model\.channels='video', .* 'subtitle'"):
        evaluate_two(config, video, video)
    with pytest.raises(InputError, match=rf"{subtitle} has model\.channels='subtitle', "):
        evaluate_two(of_channel(folder, runs, "subtitle"), subtitle, subtitle)
    with pytest.raises(InputError, match=r"no checkpoint in .*: name the workdir of a run of"):
        evaluate_two(config, video, tmp_path)
    alone = make(folder, runs, "tvqa", model__channels="video")
    with pytest.raises(InputError, match=rf"{subtitle} was not trained for question_answering"):
        evaluate_two(alone, video, subtitle)


def test_a_sequence_trains_and_scores_and_is_no_export(runs, folder, tmp_path):
    """It reads as many subtitles of a clip as frames, if nothing else is set."""
    fields = {"model__fusion": "sequence", "model__clip_positions": 28, "optimizer__steps": 2}
    train(make(folder, runs, "tvqa", **fields), tmp_path)
    losses = [value for (name, _), value in scalars(tmp_path).items() if name.endswith("/loss")]
    assert losses
    assert np.isfinite(losses).all()
    with pytest.raises(InputError, match=r"model\.fusion='sequence', for which exports have no"):
        export.export(tmp_path, tmp_path / "export")
    export.export_torch(tmp_path, tmp_path / "hero.pt")
    state = read_state_dict(tmp_path / "hero.pt")
    assert "v_encoder.sub_embeddings.word_embeddings.weight" in state
    with pytest.raises(InputError, match=r"frames \+ batch\.max_subtitles is 28, more than"):
        Experiment(make(folder, runs, "tvqa", **fields | {"model__clip_positions": 27}))
