"""Compares what this project computes with golden vectors of the original implementation.

    python tests/golden/report.py DIR
    python tests/golden/report.py --host DIR

Prints one line per quantity with its relative error, and exits with 1 if one is above its tolerance
or absent.
"""

import argparse
import copy
import json
import pathlib
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from flax import nnx

# The project is not installed, and this script's folder is not its root.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from configs import pretrain
from data.pipeline import packing, segments
from data.records.alignment import align
from data.schema import RawSubtitle
from hero_jax.conversion import original_names
from hero_jax.models import hero
from hero_jax.models.batch import frame_mask
from hero_jax.models.params import flatten, unflatten
from hero_jax.tasks import fom, matching, mfm, mlm, vsm
from hero_jax.tasks.base import Context
from hero_jax.tasks.losses import cross_entropy
from hero_jax.training import optimizer
from tests.golden import downstream, ranking

OUTPUT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3
TRAINING_TOLERANCE = 1e-3
ROW_LENGTH = 128
# Biases of keys, and of what is the last before a softmax over answers or frames.
_LAST = [
    f"{head}_pred_head.{part}.bias"
    for head in ("qa", "st_ed")
    for part in ("LayerNorm", "linear_2")
]
UNSEEN = (".key.bias", *_LAST)


class Report:
    """Prints quantities and remembers whether one failed."""

    def __init__(self):
        self.failed = False
        self.worst = {}

    def add(self, name, expected, actual, tolerance, scale=0.0):
        """Error relative to the largest expected entry."""
        expected, actual = np.asarray(expected, float), np.asarray(actual, float)
        if expected.shape != actual.shape:
            error = np.inf
        elif not expected.size:
            error = 0.0
        else:
            largest = max(np.max(np.abs(expected)), scale)
            difference = np.max(np.abs(expected - actual))
            error = difference / largest if largest else float(difference)
        # A NaN is not below the tolerance either.
        good = bool(error <= tolerance)
        self.failed |= not good
        print(f"{'ok  ' if good else 'FAIL'} {error:9.2e} (<= {tolerance:.0e})  {name}")

    def absent(self, name):
        """A quantity that should be there and is not."""
        self.failed = True
        print(f"FAIL    absent               {name}")


class Golden:
    """The files of a golden directory, with its model and its batch."""

    def __init__(self, directory, report):
        self.directory = pathlib.Path(directory)
        self.report = report
        self.meta = json.loads((self.directory / "meta.json").read_text())
        self.clips = self.load("clips")
        weights = self.load("weights")
        self.config = model_config(
            json.loads((self.directory / "model_config.json").read_text()), self.meta, weights
        )
        self.tokens = SimpleNamespace(
            cls=self.meta["cls_id"], sep=self.meta["sep_id"], pad=self.meta["pad_id"]
        )
        self.metadata = SimpleNamespace(special_ids=self.tokens)
        module = hero.HERO(self.config, rngs=nnx.Rngs(0))
        self.graphdef, state = nnx.split(module, nnx.Param)
        self.params = with_weights(state, weights)
        self.batch = self.pack(None)

    def load(self, name):
        """One .npz as a dict; absent files are reported."""
        path = self.directory / f"{name}.npz"
        if not path.exists():
            self.report.absent(path.name)
            return None
        return dict(np.load(path))

    @property
    def num_clips(self):
        return int(self.clips["num_clips"])

    def subtitles(self, i):
        """(tokens, frames) of the subtitles of clip i."""
        return [
            (self.clips[f"clip{i}/subtitle{j}/tokens"], self.clips[f"clip{i}/subtitle{j}/frames"])
            for j in range(int(self.clips[f"clip{i}/num_subtitles"]))
        ]

    def clip(self, i):
        """Clip i as a record holds it, but for its features, which are float32."""
        features = self.clips[f"clip{i}/frame_features"]
        owner = np.full(len(features), -1)
        words = []
        for j, (tokens, frames_of) in enumerate(self.subtitles(i)):
            owner[frames_of] = j
            words.append(tokens)
        return SimpleNamespace(
            clip_id=f"clip{i}",
            frame_features=features,
            token_ids=np.concatenate(words),
            token_counts=[len(w) for w in words],
            frame_subtitle=owner,
        )

    def pack(self, queries):
        """All clips as one group; queries: for each clip (held-out subtitles, queries), or None."""
        frames = max(len(self.clips[f"clip{i}/frame_features"]) for i in range(self.num_clips))
        config = ml_collections.ConfigDict(
            {
                "clips_per_group": self.num_clips,
                "rows_per_group": self.num_clips + 2,
                "query_rows_per_group": 4,
                "row_length": ROW_LENGTH,
                "queries_per_clip": self.meta["queries_per_clip"],
                "max_frames": frames,
                "max_tokens": 60,
                "max_query_tokens": 60,
                "context_subtitles": 0,
                "segmentation": "subtitle",
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
        return {name: jnp.asarray(array) for name, array in batch.items()}

    def module(self, params):
        return nnx.merge(self.graphdef, params)

    def with_head(self, task, expected):
        """The same clips, with the weights of a downstream task's file and its own parameters."""
        weights = {k[len("weights/") :]: v for k, v in expected.items() if k.startswith("weights/")}
        module = hero.HERO(self.config, {task.name: task.make_head}, rngs=nnx.Rngs(0))
        golden = copy.copy(self)
        golden.graphdef, state = nnx.split(module, nnx.Param)
        # What the task has no use for is not in its file.
        golden.params = with_weights(state, {**self.load("weights"), **weights})
        return golden

    def compute(self, function, batch):
        """function(module, batch), compiled as a whole: much quicker than operation by operation.

        The batch is an argument, so that directories of the same shapes share what is compiled.
        """
        return jax.jit(lambda params, batch: function(self.module(params), batch))(
            self.params, batch
        )

    def differentiate(self, function, batch):
        """Compiles a loss once, for its value, its gradient and the outputs beside it.

        Args:
          function: takes the module and the batch; returns the loss and a pytree of outputs.

        Returns:
          A function of parameters, which returns `((loss, outputs), gradient)`.
        """
        step = jax.jit(
            jax.value_and_grad(
                lambda params, batch: function(self.module(params), batch), has_aux=True
            )
        )
        return lambda params: step(params, batch)

    def places(self, i, j):
        """Flat slots of the frames and of the text of subtitle j of clip i."""
        mine = (np.asarray(self.batch["clip_index"]) == i) & (
            np.asarray(self.batch["subtitle_index"]) == j
        )
        mine &= np.asarray(self.batch["segment_ids"]) > 0
        text = np.asarray(self.batch["frame_index"]) < 0
        return np.flatnonzero(mine & ~text), np.flatnonzero(mine & text)

    def fill(self, array, name, values):
        """A flat copy of a batch array with the values of every subtitle's text put in."""
        flat = np.array(array).reshape(-1)
        for i in range(self.num_clips):
            for j in range(len(self.subtitles(i))):
                flat[self.places(i, j)[1]] = values[f"clip{i}/subtitle{j}/{name}"]
        return jnp.asarray(flat.reshape(array.shape))

    def per_clip(self, values, name, fill):
        """`[1, C, F]` of one array per clip."""
        stacked = np.full(self.batch["frame_slot"].shape, fill)
        for i in range(self.num_clips):
            row = values[f"clip{i}/{name}"]
            stacked[0, i, : len(row)] = row
        return stacked

    def gradients(self, prefix, expected, gradient):
        """Compares a gradient with every array under `prefix`."""
        gradient = flatten(gradient)
        ours = {
            original_names.original_name(path): (path, value) for path, value in gradient.items()
        }
        expected = {k[len(prefix) :]: v for k, v in expected.items() if k.startswith(prefix)}
        if not expected:
            self.report.absent(f"{prefix}*")
        for name, value in expected.items():
            # A softmax does not see what is added to all of its inputs: the gradient is zero but
            # for rounding errors, which are measured against the gradient of the kernel beside.
            unseen = name.endswith(UNSEEN)
            kernel = expected.get(name.removesuffix("bias") + "weight")
            scale = np.max(np.abs(kernel)) if unseen else 0.0
            path, mine = ours[name]
            mine = original_names.to_original_layout(path, mine)[: len(value)]
            self.report.add(f"{prefix}{name}", value, mine, GRADIENT_TOLERANCE, scale)


def model_config(blocks, meta, weights):
    """Our model config from the original's four blocks; position tables as long as the weights'."""
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
        max_frames=meta["max_clip_len"],
        dtype="float32",
    )
    return config


def with_weights(state, weights):
    """The state with the original's arrays in it."""
    flat = flatten(state)
    for path, value in flat.items():
        array = original_names.to_our_layout(path, weights[original_names.original_name(path)])
        padding = [(0, a - b) for a, b in zip(value.shape, array.shape, strict=True)]
        flat[path] = jnp.asarray(np.pad(array, padding))
    nnx.replace_by_pure_dict(state, unflatten(flat))
    return state


def report_encode(golden):
    expected = golden.load("encode")
    if expected is None:
        return None
    rows, clips = golden.compute(
        lambda module, batch: (module.encode_rows(batch), module.encode_clips(batch)), golden.batch
    )
    rows, clips = np.asarray(rows).reshape(-1, rows.shape[-1]), np.asarray(clips)[0]
    for i in range(golden.num_clips):
        for j in range(len(golden.subtitles(i))):
            frames, text = golden.places(i, j)
            for name, slots in (("cross_frames", frames), ("cross_tokens", text)):
                name = f"clip{i}/subtitle{j}/{name}"
                golden.report.add(f"encode {name}", expected[name], rows[slots], OUTPUT_TOLERANCE)
        value = expected[f"clip{i}/temporal"]
        golden.report.add(
            f"encode clip{i}/temporal", value, clips[i, : len(value)], OUTPUT_TOLERANCE
        )
    return None


def report_mlm(golden):
    expected = golden.load("mlm")
    if expected is None:
        return None
    batch = {**golden.batch}
    batch["token_ids"] = golden.fill(batch["token_ids"], "input_ids", expected)
    batch["labels"] = golden.fill(jnp.full_like(batch["token_ids"], -1), "labels", expected)

    def loss(module, batch):
        rows = module.encode_rows(batch)
        sums = mlm.word_loss(module, rows, batch["labels"])
        return sums["loss"] / sums["count"], module.word_logits(rows.reshape(-1, rows.shape[-1]))

    # Reading order is by clip and subtitle, not by row.
    flat = np.asarray(batch["labels"]).reshape(-1)
    slots = [
        slot
        for i in range(golden.num_clips)
        for j in range(len(golden.subtitles(i)))
        for slot in golden.places(i, j)[1]
        if flat[slot] >= 0
    ]
    step = golden.differentiate(loss, batch)
    (mean_loss, logits), gradient = step(golden.params)
    logits = logits[np.array(slots)]
    golden.report.add("mlm scores", expected["scores"], logits, OUTPUT_TOLERANCE)
    each = jax.jit(jax.vmap(lambda *one: cross_entropy(*one, True)["loss"]))
    losses = each(logits, jnp.asarray(flat[slots]))
    golden.report.add("mlm loss", expected["loss"], losses, OUTPUT_TOLERANCE)
    golden.report.add("mlm mean_loss", expected["mean_loss"], mean_loss, OUTPUT_TOLERANCE)
    golden.gradients("grad/", expected, gradient)
    return step


def report_mfm(golden):
    expected = golden.load("mfm")
    if expected is None:
        return None
    masked = jnp.asarray(golden.per_clip(expected, "frame_mask", False))
    batch = {**golden.batch, "masked": masked}

    def contrast(module, batch):
        masked = batch["masked"]
        sums = mfm.contrast(module, batch, masked, "group", None)
        prediction = module.feature_head(module.encode_clips(batch, masked=masked))
        return sums["loss"] / sums["count"], prediction

    def regress(module, batch):
        total, count = mfm.regress(module, batch, batch["masked"], None)
        return total / count, None

    step = golden.differentiate(contrast, batch)
    (contrast_loss, prediction), contrast_gradient = step(golden.params)
    (regress_loss, _), regress_gradient = golden.differentiate(regress, batch)(golden.params)
    prediction, masked = np.asarray(prediction), np.asarray(masked)
    truth = np.asarray(golden.batch["frame_features"])
    unmasked = np.asarray(frame_mask(golden.batch)) & ~masked
    squared = np.sum((prediction - truth)[masked] ** 2, axis=-1)
    candidates = np.concatenate([truth[masked], prediction[unmasked]])
    logits = prediction[masked] @ candidates.T
    losses = jax.nn.logsumexp(logits, axis=-1) - np.diagonal(logits)
    for name, value in {
        "mffr/prediction": prediction[masked],
        "mffr/sum_squared_error": squared,
        "mffr/mean_root_loss": regress_loss,
        "mnce/prediction": prediction[masked],
        "mnce/negative_prediction": prediction[unmasked],
        "mnce/targets": truth[masked],
        "mnce/loss": losses,
        "mnce/mean_loss": contrast_loss,
    }.items():
        golden.report.add(f"mfm {name}", expected[name], value, OUTPUT_TOLERANCE)
    golden.gradients("mffr/grad/", expected, regress_gradient)
    golden.gradients("mnce/grad/", expected, contrast_gradient)
    return step


def report_fom(golden):
    expected = golden.load("fom")
    if expected is None:
        return None
    frames = golden.batch["frame_slot"].shape[-1]
    order = golden.per_clip(expected, "shuffled_orders", -1)
    order = jnp.asarray(np.where(order < 0, np.arange(frames), order))
    targets = jnp.asarray(golden.per_clip(expected, "targets", -1))

    def loss(module, batch):
        logits = fom.order_logits(module, batch, batch["order"], None)
        sums = cross_entropy(logits, batch["targets"], batch["targets"] >= 0)
        return sums["loss"] / sums["count"], logits

    step = golden.differentiate(loss, {**golden.batch, "order": order, "targets": targets})
    (mean_loss, (logits,)), gradient = step(golden.params)
    for i in range(golden.num_clips):
        value = expected[f"clip{i}/logits"]
        golden.report.add(f"fom clip{i}/logits", value, logits[i, : len(value)], OUTPUT_TOLERANCE)
    golden.report.add("fom mean_loss", expected["mean_loss"], mean_loss, OUTPUT_TOLERANCE)
    golden.gradients("grad/", expected, gradient)
    return step


def report_vsm(golden):
    expected = golden.load("vsm")
    if expected is None:
        return None
    batch = golden.pack(queries_of_clips(golden, expected))
    config = pretrain.get_config().vsm
    meta = golden.meta
    config.update(
        margin=meta["margin"],
        context_weight=meta["lw_neg_ctx"],
        query_weight=meta["lw_neg_q"],
        span_weight=meta["lw_st_ed"],
        hard_negatives_from=-1,
    )
    context = Context(key=jax.random.key(0), dropout_key=None, step=0)
    variants = {
        "": {},
        "lse/": {"ranking": "lse"},
        "hard2x10/": {"hard_negatives_from": 0, "hard_pool": 2, "hard_weight": 10.0},
    }

    def task(changes):
        changed = config.copy_and_resolve_references()
        changed.update(changes)
        return vsm.VideoSubtitleMatching(changed, None)

    def loss(module, batch):
        losses = {
            prefix: task(changes).losses(module, batch, context)[0]
            for prefix, changes in variants.items()
        }
        outputs = matching.match(module, batch, None)
        return task({}).loss(module, batch, context)[0], (outputs, losses)

    step = golden.differentiate(loss, batch)
    (weighted_loss, (outputs, losses)), gradient = step(golden.params)
    golden.report.add(
        "vsm query_clip_scores", expected["query_clip_scores"], outputs["scores"], OUTPUT_TOLERANCE
    )
    for name in ("start_logits", "end_logits"):
        for i in range(golden.num_clips):
            value = expected[f"clip{i}/{name}"]
            mine = outputs[name][outputs["own_clip"] == i][:, : value.shape[-1]]
            golden.report.add(f"vsm clip{i}/{name}", value, mine, OUTPUT_TOLERANCE)
    for prefix in variants:
        for name in ("neg_ctx", "neg_q", "span"):
            key = prefix + {"span": "loss_st_ed"}.get(name, f"loss_{name}")
            if key in expected:
                golden.report.add(
                    f"vsm {key}", expected[key], losses[prefix][name], OUTPUT_TOLERANCE
                )
            elif name != "span":
                golden.report.absent(f"vsm {key}")
    golden.report.add(
        "vsm weighted_loss", expected["weighted_loss"], weighted_loss, OUTPUT_TOLERANCE
    )
    golden.gradients("grad/", expected, gradient)
    return step


def queries_of_clips(golden, expected):
    """For each clip, its held-out subtitles and its queries."""
    queries = []
    for i in range(golden.num_clips):
        held_out = [
            j
            for j, (tokens, _) in enumerate(golden.subtitles(i))
            if len(expected[f"clip{i}/subtitle{j}/context_tokens"]) < 1 + len(tokens)
        ]
        chosen = [
            (expected[f"clip{i}/query{q}/tokens"][1:], expected[f"clip{i}/query{q}/span"])
            for q in range(golden.meta["queries_per_clip"])
        ]
        queries.append((held_out, chosen))
    return queries


def report_training(golden, steps):
    """Eight updates; only directories that have the file are asked for it."""
    if not (golden.directory / "training.npz").exists():
        return
    expected = golden.load("training")
    # The tasks have other names in this file than their losses have files.
    steps = {name: steps.get(TRAINED.get(name, name)) for name in map(str, expected["tasks"])}
    if None in steps.values():
        golden.report.absent("training: the tasks' own files")
        return
    config = ml_collections.ConfigDict(
        {"learning_rate": 3e-3, "warmup_steps": 3, "steps": 10, "betas": (0.9, 0.98)}
    )
    rate = optimizer.schedule(config)
    params = golden.params
    decay = optimizer.decay_mask(params)
    transform = optax.chain(
        optimizer.clip_by_global_norm(1.0),
        optimizer.adamw(rate, config.betas, 0.01, decay),
    )

    @jax.jit
    def update(gradient, state, params):
        updates, state = transform.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, optax.tree.norm(gradient)

    state = transform.init(params)
    for step, task in enumerate(expected["tasks"]):
        (loss, _), gradient = steps[str(task)](params)
        params, state, norm = update(gradient, state, params)
        for name, mine in (
            ("losses", loss),
            ("grad_norms", norm),
            ("learning_rates", rate(step)),
        ):
            golden.report.add(
                f"training {name}[{step}]", expected[name][step], mine, TRAINING_TOLERANCE
            )
    flat = flatten(params)
    flat = {original_names.original_name(path): (path, value) for path, value in flat.items()}
    flat[original_names.TIED_WORDS] = flat[original_names.WORDS]
    for name, value in expected.items():
        if name.startswith("final/"):
            path, mine = flat[name.removeprefix("final/")]
            mine = original_names.to_original_layout(path, mine)[: len(value)]
            golden.report.add(f"training {name}", value, mine, TRAINING_TOLERANCE)


def report_directory(directory, files):
    """Reports some files of one golden directory; True if all is well."""
    report = Report()
    golden = Golden(directory, report)
    steps = {name: FILES[name](golden) for name in files if name in FILES}
    if "training" in files:
        report_training(golden, steps)
    return not report.failed


FILES = {
    "encode": report_encode,
    "mlm": report_mlm,
    "mfm": report_mfm,
    "fom": report_fom,
    "vsm": report_vsm,
    "video_qa": downstream.report_question_answering,
    "violin": downstream.report_inference,
    "captioning": downstream.report_captioning,
}
# The file of a training step's task, where it has another name.
TRAINED = {"mfm-nce": "mfm"}


def report_host(directory):
    """Reports `subtitle_alignment.json` and `moment_ranking.json`; True if all is well."""
    report = Report()
    directory = pathlib.Path(directory)
    if (directory / "subtitle_alignment.json").exists():
        report_alignment(directory, report)
    else:
        report.absent("subtitle_alignment.json")
    if all((directory / f"moment_ranking.{kind}").exists() for kind in ("json", "npz")):
        ranking.report_ranking(directory, report)
    else:
        report.absent("moment_ranking.json and .npz")
    return not report.failed


def report_alignment(directory, report):
    for number, case in enumerate(json.loads((directory / "subtitle_alignment.json").read_text())):
        expected = np.full(case["num_frames"], -1)
        for j, frames in enumerate(case["frames_of_subtitle"]):
            expected[frames] = j
        subtitles = [RawSubtitle(s["text"], s["start"], s["end"]) for s in case["subtitles"]]
        actual = align(subtitles, case["num_frames"], case["seconds_per_feature"])
        report.add(f"subtitle_alignment[{number}]", expected, actual, 0.0)


def main(arguments=None):
    """Reports what the command line names; True if all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory")
    parser.add_argument("--host", action="store_true", help="a directory laid out like golden/host")
    parser.add_argument(
        "--files",
        default=",".join((*FILES, "training")),
        help="the files to compare, with commas between; training needs mlm, mfm, fom, vsm",
    )
    arguments = parser.parse_args(arguments)
    if arguments.host:
        return report_host(arguments.directory)
    return report_directory(arguments.directory, arguments.files.split(","))


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
