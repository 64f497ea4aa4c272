"""Golden vectors of the original, our model with their weights, and the comparison of the two."""

import copy
import functools
import json
import pathlib
from types import SimpleNamespace
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
from flax import nnx

from configs import pretrain
from data.pipeline import packing, segments
from hero_jax.conversion import original_names
from hero_jax.experiment.config_checks import SEGMENTATIONS
from hero_jax.models import hero
from hero_jax.models.params import flatten, unflatten
from hero_jax.tasks.registry import make_task
from tests.hero_jax.tiny import QUICK

OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3
ROW_LENGTH = 128
# Our names of channels, by those of the variants that read one.
CHANNELS = {"sub_only": "subtitle", "video_only": "video"}
# Our names of fusions by those of the original's models; '' for one with several.
FUSIONS = {
    "hero": "cross_modal",
    "video_sub_sequence_model": "sequence",
    "video_sub_feature_fusion": "",
}
# Biases whose gradient is zero: of keys, and of the last layers before a softmax over answers or
# frames.
_LAST_BIASES = [
    f"{head}_pred_head.{part}.bias"
    for head in ("qa", "st_ed")
    for part in ("LayerNorm", "linear_2")
]
ZERO_GRADIENT = (".key.bias", *_LAST_BIASES)


class SpecialIds(NamedTuple):
    """Ids of special tokens."""

    cls: int
    sep: int
    pad: int


class Report:
    """Prints quantities.

    Attributes:
      failed: True if a quantity failed.
    """

    def __init__(self):
        self.failed = False

    def add(self, name, expected, actual, tolerance, scale=0.0):
        """Prints the largest error relative to the largest expected entry, or to the scale."""
        expected, actual = np.asarray(expected, float), np.asarray(actual, float)
        if expected.shape != actual.shape:
            error = np.inf
        elif not expected.size:
            error = 0.0
        else:
            largest = max(np.max(np.abs(expected)), scale)
            difference = np.max(np.abs(expected - actual))
            error = difference / largest if largest else float(difference)
        # A NaN fails too.
        passed = bool(error <= tolerance)
        self.failed |= not passed
        print(f"{'ok  ' if passed else 'FAIL'} {error:9.2e} (<= {tolerance:.0e})  {name}")

    def absent(self, name):
        """Prints the failure of a quantity that is missing."""
        self.failed = True
        print(f"FAIL    absent               {name}")


class Golden:
    """A golden directory, with our model with its weights, and its clips as a batch.

    Attributes:
      value: whether it is of a variant of VALUE, whose weights, of all heads, are beside it.
    """

    def __init__(self, directory, report):
        self.directory = pathlib.Path(directory)
        self.value = not (self.directory / "weights.npz").exists()
        self.report = report
        self.meta = json.loads((self.directory / "meta.json").read_text())
        self.clips = self.load("clips")
        home = self.directory.parent if self.value else self.directory
        self.weights = dict(np.load(home / "weights.npz"))
        self.blocks = json.loads((home / "model_config.json").read_text())
        self.config = model_config(self.blocks, self.meta, self.weights)
        self.tokens = SpecialIds(*(self.meta[f"{name}_id"] for name in SpecialIds._fields))
        self.metadata = SimpleNamespace(special_ids=self.tokens, seconds_per_feature=1.0)
        self.graphdef, state = abstract_model(self.config.to_json())
        self.params = with_weights(state, self.weights)
        self.batch = self.pack(None)

    def load(self, name):
        """Returns the arrays of an .npz file; reports it and returns None if it is missing."""
        path = self.directory / f"{name}.npz"
        if not path.exists():
            self.report.absent(path.name)
            return None
        return dict(np.load(path))

    @property
    def segmentation(self):
        return SEGMENTATIONS.get(self.config.channels, "subtitle")

    @property
    def max_subtitles(self):
        """Subtitles of a clip that a sequence reads, 0 for other fusions."""
        most = max(len(self.subtitles(i)) for i in range(self.num_clips))
        return most if self.config.fusion == "sequence" else 0

    @property
    def num_clips(self):
        return int(self.clips["num_clips"])

    def subtitles(self, i):
        """Returns (tokens, frames) of the subtitles of clip i."""
        return [
            (self.clips[f"clip{i}/subtitle{j}/tokens"], self.clips[f"clip{i}/subtitle{j}/frames"])
            for j in range(int(self.clips[f"clip{i}/num_subtitles"]))
        ]

    def clip(self, i):
        """Returns clip i as a record holds it, but with float32 features."""
        features = self.clips[f"clip{i}/frame_features"]
        frame_subtitle = np.full(len(features), -1)
        words = []
        for j, (tokens, frames) in enumerate(self.subtitles(i)):
            frame_subtitle[frames] = j
            words.append(tokens)
        return SimpleNamespace(
            clip_id=f"clip{i}",
            frame_features=features,
            token_ids=np.concatenate(words),
            token_counts=[len(w) for w in words],
            frame_subtitle=frame_subtitle,
        )

    def pack(self, queries):
        """Packs all clips as one group.

        Args:
          queries: (held-out subtitles, queries) of each clip, or None.
        """
        frames = max(len(self.clips[f"clip{i}/frame_features"]) for i in range(self.num_clips))
        config = ml_collections.ConfigDict(
            {
                "clips_per_group": self.num_clips,
                "rows_per_group": self.num_clips + 2,
                "query_rows_per_group": 4,
                "row_length": ROW_LENGTH,
                "queries_per_clip": self.meta["queries_per_clip"],
                # Two clips share a row.
                "frame_rows_per_group": -(-self.num_clips // 2),
                "frame_row_length": 2 * frames,
                "max_frames": frames,
                "max_tokens": 60,
                "max_query_tokens": 60,
                "context_subtitles": 0,
                "max_subtitles": self.max_subtitles,
                "segmentation": self.segmentation,
            }
        )
        batch = packing.empty_batch(1, config, self.meta["frame_feature_dim"], self.tokens.pad)
        # Records are float16; the golden features are not.
        batch["frame_features"] = batch["frame_features"].astype(np.float32)

        def choose(prepared):
            return ([], []) if queries is None else queries[prepared.number]

        packer = packing.GroupPacker(
            {name: array[0] for name, array in batch.items()}, config, self.tokens, choose
        )
        for i in range(self.num_clips):
            clip = self.clip(i)
            if not packer.add(segments.prepare(clip, i, config, self.metadata)):
                raise SystemExit("The clips do not fit the rows of this report.")
        return batch

    def task(self, kind, settings, name=""):
        """Returns a task, the same one for every directory with these settings and tokens."""
        return _make_task(kind, tuple(settings.items()), self.tokens, name)

    def with_head(self, task, expected):
        """Returns a copy whose model has the task's head, with the weights of the task's file."""
        weights = {k[len("weights/") :]: v for k, v in expected.items() if k.startswith("weights/")}
        golden = copy.copy(self)
        golden.graphdef, state = abstract_model(self.config.to_json(), task)
        # The task's file lacks the parameters that the task does not use.
        golden.params = with_weights(state, {**self.weights, **weights})
        return golden

    def model(self):
        """Returns the model with its weights."""
        return nnx.merge(self.graphdef, self.params)

    def compute(self, function, batch, *constants):
        """Returns function(module, batch, *constants), compiled; op by op would be much slower.

        The batch is an argument and the constants are compared by value, so that a function is
        compiled once for all directories with the same shapes.
        """
        return jax.device_get(_compute(function, constants, self.graphdef, self.params, batch))

    def differentiate(self, function, batch, *constants):
        """Compiles a loss for its value, its gradient and its auxiliary outputs.

        Args:
          function: takes the module, the batch and the constants; returns the loss and a pytree of
            outputs.
          batch, constants: as in `compute`.

        Returns:
          A function of parameters that returns `((loss, outputs), gradient)`.
        """
        return lambda params: jax.device_get(
            _differentiate(function, constants, self.graphdef, params, batch)
        )

    def places(self, i, j):
        """Returns the flat slots of the frames and of the text of subtitle j of clip i."""
        in_subtitle = (self.batch["clip_index"] == i) & (self.batch["subtitle_index"] == j)
        in_subtitle &= self.batch["segment_ids"] > 0
        text = self.batch["frame_index"] < 0
        return np.flatnonzero(in_subtitle & ~text), np.flatnonzero(in_subtitle & text)

    def fill(self, array, name, values):
        """Returns a copy of a batch array, with golden values at the text of every subtitle."""
        flat = np.array(array).reshape(-1)
        for i in range(self.num_clips):
            for j in range(len(self.subtitles(i))):
                flat[self.places(i, j)[1]] = values[f"clip{i}/subtitle{j}/{name}"]
        return flat.reshape(array.shape)

    def per_clip(self, values, name, fill):
        """Stacks one array per clip as `[1, C, F]`."""
        stacked = np.full(self.batch["clip_slot"].shape, fill)
        for i in range(self.num_clips):
            row = values[f"clip{i}/{name}"]
            stacked[0, i, : len(row)] = row
        return stacked

    def gradients(self, prefix, expected, gradient):
        """Compares a gradient with every array under `prefix`; VALUE's vectors may have none."""
        actual = by_original_name(flatten(gradient))
        arrays = {k[len(prefix) :]: v for k, v in expected.items() if k.startswith(prefix)}
        if not arrays and not self.value:
            self.report.absent(f"{prefix}*")
        for name, array in arrays.items():
            # A softmax ignores a value that is added to all of its inputs, so these gradients are
            # zero up to rounding errors, which are compared with the gradient of the kernel.
            kernel = arrays.get(name.removesuffix("bias") + "weight")
            scale = np.max(np.abs(kernel)) if name.endswith(ZERO_GRADIENT) else 0.0
            self.report.add(
                f"{prefix}{name}", array, actual[name][: len(array)], GRADIENT_TOLERANCE, scale
            )


@functools.cache
def _make_task(kind, settings, tokens, name):
    return make_task(kind, dict(settings), tokens, name)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=QUICK)
def _compute(function, constants, graphdef, params, batch):
    return function(nnx.merge(graphdef, params), batch, *constants)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), compiler_options=QUICK)
def _differentiate(function, constants, graphdef, params, batch):
    def loss(params):
        return function(nnx.merge(graphdef, params), batch, *constants)

    return jax.value_and_grad(loss, has_aux=True)(params)


@functools.cache
def abstract_model(config_json, task=None):
    """Returns the structure of a model with a task's head, and its parameters without values."""
    config = ml_collections.ConfigDict(json.loads(config_json))
    heads = {} if task is None else {task.head: task.make_head}
    module = nnx.eval_shape(lambda: hero.HERO(config, heads, rngs=nnx.Rngs(0)))
    return nnx.split(module, nnx.Param)


def by_original_name(flat):
    """Returns parameters by path under the original's names, in its layouts."""
    names = original_names.original_names(flat)
    return {
        names[path]: original_names.to_original_layout(path, array) for path, array in flat.items()
    }


def model_config(blocks, meta, weights):
    """Returns our model config for the original's; the weights give the number of positions."""
    config = pretrain.get_config().model
    cross, temporal, query = blocks["f_config"], blocks["c_config"], blocks["q_config"]
    frame_positions = "v_encoder.f_encoder.img_embeddings.position_embeddings.weight"
    config.update(
        hidden_size=cross["hidden_size"],
        intermediate_size=cross["intermediate_size"],
        num_heads=cross["num_attention_heads"],
        cross_modal_layers=cross["num_hidden_layers"],
        temporal_layers=temporal["num_hidden_layers"],
        vocab_size=cross["vocab_size"],
        feature_size=meta["frame_feature_dim"],
        text_positions=cross["max_position_embeddings"],
        clip_positions=temporal["max_position_embeddings"],
        query_positions=query["max_position_embeddings"],
        segment_frames=len(weights[frame_positions]),
        max_frames=meta.get("max_clip_len", config.max_frames),
        channels=CHANNELS.get(meta.get("variant"), "both"),
        fusion=FUSIONS[blocks.get("model", "hero")] or blocks["video_sub_fusion_method"],
        dtype="float32",
    )
    return config


def with_weights(state, weights):
    """Returns the state with the original's arrays in it."""
    flat = flatten(state)
    names = original_names.original_names(flat)
    for path, value in flat.items():
        array = original_names.to_our_layout(path, weights[names[path]])
        padding = [(0, a - b) for a, b in zip(value.shape, array.shape, strict=True)]
        flat[path] = np.pad(array, padding)
    # The state may be one that others share.
    state = jax.tree.map(lambda leaf: leaf, state)
    nnx.replace_by_pure_dict(state, unflatten(jax.device_put(flat)))
    return state
