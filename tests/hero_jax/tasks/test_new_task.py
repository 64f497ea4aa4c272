"""A new kind of task is one file: it trains, evaluates, exports and serves with no other change."""

import dataclasses
import importlib
import json
import sys

import jax
import numpy as np
import pytest

from configs import finetune
from data.building.dataset import build_dataset
from data.building.plan import Building
from data.errors import InputError
from data.schema import DatasetMetadata, RawClip, RawQuery, RawSubtitle
from data.sources.base import ClipSource
from data.tokenizer import Tokenizer
from hero_jax import export, inference
from hero_jax.inference import compiled
from hero_jax.tasks.registry import TASKS
from hero_jax.training.evaluate import evaluate_checkpoint
from hero_jax.training.loop import train

# The file of a task that tells how bright a clip is, and its layout: clips, with a label for each.
TOY = """
import dataclasses
import json

import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.pipeline import packing, segments
from data.pipeline.layout import segment_limits
from data.pipeline.units import UnitLayout
from hero_jax.models.batch import frame_mask
from hero_jax.models.heads import pooling_scores
from hero_jax.tasks.base import ExportedFunction, Task, TaskSettings, metric


class Labelled(UnitLayout):
    name = "labelled"

    def problem(self, query):
        return "" if query.label >= 0 else "statements without a label"

    def prepare(self, clip, number, queries):
        prepared = segments.prepare(clip, number, self.config, self.metadata, framed=True)
        ((record, query),) = queries
        return dataclasses.replace(prepared, annotated=((record, query.label),))

    def arrays(self, groups):
        width, pad = self.metadata.feature_width, self.metadata.special_ids.pad
        clips = (self.config.clips_per_group,)
        return {
            **packing.clip_arrays(groups, self.config, width, pad),
            "bright": packing.filled(groups, clips),
            "query_numbers": packing.filled(groups, clips),
        }

    def packer(self, arrays, seed=0, step=0):
        return LabelPacker(arrays, self.config)

    def slots(self, item):
        return int(item.lengths.sum()), len(item.frame_features), []

    @staticmethod
    def limits(config, block):
        return segment_limits(config)


class LabelPacker(packing.ClipPacker):
    def _ask(self, prepared):
        ((number, label),) = prepared.annotated
        self.arrays["bright"][self.clips] = label
        self.arrays["query_numbers"][self.clips] = number
        return ()


@dataclasses.dataclass(frozen=True)
class BrightnessSettings(TaskSettings):
    scale: float = 2.0

    def __post_init__(self):
        self.require("scale", self.scale > 0, "above 0")


class Head(nnx.Module):
    def __init__(self, config, rngs):
        self.brightness = pooling_scores(config, rngs=rngs)


class Brightness(Task):
    Settings = BrightnessSettings
    layout = Labelled
    query_type = "statement"

    def make_head(self, config, rngs):
        return Head(config, rngs)

    def products(self, work):
        return work.clips

    def logits(self, model, batch, key=None):
        frames, valid = model.encode_clips(batch, key=key), frame_mask(batch)[..., None]
        pooled = jnp.sum(frames * valid, axis=-2) / jnp.maximum(valid.sum(-2), 1)
        return self.settings.scale * model.heads[self.name].brightness(pooled)[..., 0]

    def loss(self, model, batch, context):
        logits = self.logits(model, batch, context.dropout_key)
        there = batch["num_frames"] > 0
        error = jnp.sum((logits - batch["bright"]) ** 2, where=there)
        return context.mean(error, there.sum()), {"loss": metric(error, there.sum())}

    def predict(self, model, batch):
        return {
            "logits": self.logits(model, batch),
            "query_numbers": batch["query_numbers"],
            "there": batch["num_frames"] > 0,
        }

    def summarize(self, predictions, split):
        there = predictions["there"]
        numbers, logits = predictions["query_numbers"][there], predictions["logits"][there]
        labels = np.array([split.queries[number].label for number in numbers])
        return {"accuracy": float(np.mean((logits > 0.5) == labels)), "clips_judged": len(labels)}

    def submission(self, predictions, split):
        there = predictions["there"]
        numbers, logits = predictions["query_numbers"][there], predictions["logits"][there]
        found = {split.queries[n].query_id: float(x) for n, x in zip(numbers, logits)}
        return {"brightness.json": json.dumps(found)}

    def exported(self, limits):
        call = lambda model, batch: self.logits(model, batch)
        return ExportedFunction("brightness", "-> logits [b]", [], False, call)

    def serve(self, model, batch):
        return self.logits(model, batch)

    def respond(self, outputs, *, num_frames, seconds_per_feature, tokenizer):
        return {"bright": float(outputs[0, 0]), "seconds": num_frames * seconds_per_feature}
"""
SECONDS = 1.5
WORDS = "a red circle meets the blue square"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The task in the registry, from a module that exists for this test alone."""
    (tmp_path / "toy_brightness.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    module = importlib.import_module("toy_brightness")
    monkeypatch.setitem(TASKS, "brightness", module.Brightness)
    yield module
    del sys.modules["toy_brightness"]


def make_clip(number):
    """A clip of 4 to 7 frames, which are bright if its number is odd."""
    rng = np.random.default_rng(number)
    light = np.array([3, 3, 3, -3, -3, -3]) * (1 if number % 2 else -1)
    frames = rng.normal(size=(4 + number % 4, 6)) + light
    subtitles = (RawSubtitle(WORDS, 0.0, 3.0),)
    return RawClip(f"clip{number}", (frames.astype(np.float16),), subtitles)


def make_config(folder):
    """Returns the config of a new task: the defaults, its settings, and tiny sizes."""
    clips = {
        "train": [make_clip(n) for n in range(8)],
        "validation": [make_clip(n) for n in (8, 9)],
    }
    queries = {
        split: [
            RawQuery(f"q{c.clip_id}", c.clip_id, "it is bright", label=n % 2)
            for n, c in enumerate(own)
        ]
        for split, own in clips.items()
    }
    source = ClipSource(clips, SECONDS, queries, "statement")
    tokenizer = Tokenizer.train([WORDS] * 3, 280)
    build_dataset(folder / "lamps", source, tokenizer, Building())
    metadata = DatasetMetadata.load(folder / "lamps")
    config = finetune.base("lamps", "brightness", {"scale": 1.5}, "accuracy")
    config.data.dir = str(folder)
    config.batch.update(
        groups=1,
        clips_per_group=4,
        accumulation=1,
        row_length=32,
        max_frames=8,
        max_tokens=20,
        max_query_tokens=10,
    )
    config.model.update(
        hidden_size=16,
        intermediate_size=32,
        num_heads=2,
        cross_modal_layers=1,
        temporal_layers=1,
        vocab_size=metadata.vocab_size,
        feature_size=6,
        text_positions=32,
        segment_frames=8,
        clip_positions=8,
        query_positions=32,
        max_frames=8,
        dropout=0.0,
        attention_dropout=0.0,
        dtype="float32",
    )
    config.optimizer.update(learning_rate=1e-2, steps=12, warmup_steps=2)
    config.eval_every = config.save_every = config.log_every = 6
    return config


def test_a_task_in_a_module_of_its_own_is_trained_scored_exported_and_served(toy, tmp_path):
    config, workdir, out = make_config(tmp_path / "data"), tmp_path / "run", tmp_path / "export"
    results = train(config, workdir)
    assert results == {"brightness/accuracy": 1.0, "brightness/clips_judged": 2}
    assert evaluate_checkpoint(config, workdir) == results
    written = json.loads((workdir / "predictions-validation-12" / "brightness.json").read_text())
    assert set(written) == {"qclip8", "qclip9"}

    export.export(workdir, out)
    model = inference.load(out)
    for number in (8, 9):
        raw = make_clip(number)
        clip = model.clip(raw.clip_id, raw.features, [(0.0, 3.0, WORDS)])
        reply = model.respond("brightness", clip, RawQuery("", "", ""))
        assert reply["seconds"] == len(raw.features[0]) * SECONDS
        np.testing.assert_allclose(reply["bright"], written[f"q{raw.clip_id}"], atol=1e-4)
    function = compiled.read(out / "compiled" / f"brightness{compiled.SUFFIX}")
    frames = len(clip.frame_features)
    features, under = np.zeros((1, 8, 6), np.float16), np.full((1, 8), -1, np.int32)
    features[0, :frames], under[0, :frames] = clip.frame_features, clip.frame_subtitle
    token_ids = np.zeros((1, 1, 20), np.int32)
    token_ids[0, 0, : len(clip.token_ids)] = clip.token_ids
    counts = np.array([[len(clip.token_ids)]], np.int32)
    num_frames = np.array([frames], np.int32)
    logits = function(model.exported.params, features, num_frames, token_ids, counts, under)
    np.testing.assert_allclose(jax.device_get(logits)[0], reply["bright"], atol=1e-4)
    assert "brightness" in (out / "compiled" / "README.md").read_text()


def test_its_settings_are_its_own_to_check(toy, tmp_path):
    config = make_config(tmp_path / "data")
    config.brightness.scale = 0.0
    with pytest.raises(InputError, match=r"^brightness\.scale=0\.0 has to be above 0$"):
        train(config, tmp_path / "run")
    with pytest.raises(InputError, match=r"^brightness\.shade is not a setting .* it has scale$"):
        toy.Brightness.Settings.read({"shade": 1}, "brightness")
    assert dataclasses.asdict(toy.Brightness.Settings.read({}, "brightness")) == {"scale": 2.0}
