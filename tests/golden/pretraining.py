"""Compares pre-training tasks and training steps with the golden vectors; see `report.py`."""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from configs import pretrain
from hero_jax.conversion.original_names import TIED_WORDS, WORDS
from hero_jax.models.batch import by_clip, frame_mask, pick_in_frame_rows
from hero_jax.models.params import flatten
from hero_jax.tasks import fom, matching, mfm, mlm
from hero_jax.tasks.base import Context
from hero_jax.tasks.losses import cross_entropy
from hero_jax.training import optimizer
from tests.golden.vectors import OUTPUT_TOLERANCE, by_original_name

TRAINING_TOLERANCE = 1e-3
# Golden files of the tasks in `training.npz` that have another name.
TASK_FILES = {"mfm-nce": "mfm"}
CONTEXT = Context(key=jax.random.key(0), dropout_key=None, step=0)
# Settings of the variants of the VSM loss, by prefix of their names.
MATCHING_VARIANTS = {
    "": {},
    "lse/": {"ranking": "lse"},
    "hard2x10/": {"hard_negatives_from": 0, "hard_pool": 2, "hard_weight": 10.0},
}


def report_encode(golden):
    expected = golden.load("encode")
    if expected is None:
        return None
    rows, clips = golden.compute(rows_and_clips, golden.batch)
    rows, clips = rows.reshape(-1, rows.shape[-1]), clips[0]
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


def rows_and_clips(module, batch):
    return module.encode_rows(batch), module.encode_clips(batch)


def report_mlm(golden):
    expected = golden.load("mlm")
    if expected is None:
        return None
    batch = {**golden.batch}
    batch["token_ids"] = golden.fill(batch["token_ids"], "input_ids", expected)
    batch["labels"] = golden.fill(np.full_like(batch["token_ids"], -1), "labels", expected)
    # Reading order is by clip and subtitle, not by row.
    flat = batch["labels"].reshape(-1)
    slots = [
        slot
        for i in range(golden.num_clips)
        for j in range(len(golden.subtitles(i)))
        for slot in golden.places(i, j)[1]
        if flat[slot] >= 0
    ]
    step = golden.differentiate(word_loss, batch)
    (mean_loss, (logits, losses)), gradient = step(golden.params)
    logits, losses = logits[slots], losses[slots]
    golden.report.add("mlm scores", expected["scores"], logits, OUTPUT_TOLERANCE)
    golden.report.add("mlm loss", expected["loss"], losses, OUTPUT_TOLERANCE)
    golden.report.add("mlm mean_loss", expected["mean_loss"], mean_loss, OUTPUT_TOLERANCE)
    golden.gradients("grad/", expected, gradient)
    return step


def word_loss(module, batch):
    rows, labels = module.encode_rows(batch), batch["labels"]
    sums = mlm.word_loss(module, rows, labels, 0.15)
    logits = module.word_logits(rows.reshape(-1, rows.shape[-1]))
    # A label of -1 has no loss.
    losses = jax.vmap(lambda *token: cross_entropy(*token, True)["loss"])(
        logits, jnp.maximum(labels, 0).reshape(-1)
    )
    return sums["loss"] / sums["count"], (logits, losses)


def report_mfm(golden):
    expected = golden.load("mfm")
    if expected is None:
        return None
    masked = golden.per_clip(expected, "frame_mask", False)
    batch = {**golden.batch, "masked": masked}
    step = golden.differentiate(frame_loss, {**batch, "is_contrast": True})
    (contrast_loss, prediction), contrast_gradient = step(golden.params)
    regress = golden.differentiate(frame_loss, {**batch, "is_contrast": False})
    (regress_loss, _), regress_gradient = regress(golden.params)
    truth = golden.compute(features_of_clips, golden.batch)
    unmasked = np.asarray(frame_mask(golden.batch)) & ~masked
    squared = np.sum((prediction - truth)[masked] ** 2, axis=-1)
    candidates = np.concatenate([truth[masked], prediction[unmasked]])
    logits = prediction[masked] @ candidates.T
    losses = np.logaddexp.reduce(logits, axis=-1) - np.diagonal(logits)
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


def features_of_clips(module, batch):
    del module
    return by_clip(batch["frame_features"], batch)


def frame_loss(module, batch):
    """Returns either loss of masked frames: they share the encoder, which is compiled once."""
    masked = batch["masked"]
    sums = mfm.contrast(module, batch, masked, "group", 0.15, None)
    total, count = mfm.regress(module, batch, masked, None)
    loss = jnp.where(batch["is_contrast"], sums["loss"] / sums["count"], total / count)
    frames = module.encode_frames(batch, masked=pick_in_frame_rows(masked, batch, False))
    return loss, by_clip(module.feature_head(frames), batch)


def report_fom(golden):
    expected = golden.load("fom")
    if expected is None:
        return None
    frames = golden.batch["clip_slot"].shape[-1]
    order = golden.per_clip(expected, "shuffled_orders", -1)
    order = np.where(order < 0, np.arange(frames), order)
    targets = golden.per_clip(expected, "targets", -1)
    step = golden.differentiate(order_loss, {**golden.batch, "order": order, "targets": targets})
    (mean_loss, (logits,)), gradient = step(golden.params)
    for i in range(golden.num_clips):
        value = expected[f"clip{i}/logits"]
        golden.report.add(f"fom clip{i}/logits", value, logits[i, : len(value)], OUTPUT_TOLERANCE)
    golden.report.add("fom mean_loss", expected["mean_loss"], mean_loss, OUTPUT_TOLERANCE)
    golden.gradients("grad/", expected, gradient)
    return step


def order_loss(module, batch):
    logits = by_clip(fom.order_logits(module, batch, batch["order"], None), batch)
    sums = cross_entropy(logits, batch["targets"], batch["targets"] >= 0)
    return sums["loss"] / sums["count"], logits


def report_vsm(golden):
    expected = golden.load("vsm")
    if expected is None:
        return None
    batch = golden.pack(queries_of_clips(golden, expected, held_out_subtitles(golden, expected)))
    return report_matching(golden, "vsm", expected, batch)


def report_matching(golden, file, expected, batch):
    task = golden.task("vsm", golden_matching_config(golden.meta))
    step = golden.differentiate(matching_loss, batch, task)
    (weighted_loss, (outputs, losses)), gradient = step(golden.params)

    def report(name, value):
        golden.report.add(f"{file} {name}", expected[name], value, OUTPUT_TOLERANCE)

    report("query_clip_scores", outputs["scores"])
    for name in ("start_logits", "end_logits"):
        for i in range(golden.num_clips):
            frames = expected[f"clip{i}/{name}"].shape[-1]
            report(f"clip{i}/{name}", outputs[name][outputs["own_clip"] == i][:, :frames])
    for prefix in MATCHING_VARIANTS:
        report_matching_losses(golden, file, expected, losses[prefix], prefix)
    report("weighted_loss", weighted_loss)
    golden.gradients("grad/", expected, gradient)
    return step


def matching_loss(module, batch, task):
    outputs = matching.match(module, batch, None)
    losses = {}
    for prefix, changes in MATCHING_VARIANTS.items():
        settings = dataclasses.replace(task.settings, **changes)
        losses[prefix], _ = matching.losses_of_matches(outputs, batch, CONTEXT.step, settings)
    return task.loss(module, batch, CONTEXT)[0], (outputs, losses)


def queries_of_clips(golden, expected, held_out):
    """Returns the held-out subtitles, given for each clip, and the queries of each clip."""
    return [
        (
            subtitles,
            [
                (expected[f"clip{i}/query{q}/tokens"][1:], expected[f"clip{i}/query{q}/span"])
                for q in range(golden.meta["queries_per_clip"])
            ],
        )
        for i, subtitles in enumerate(held_out)
    ]


def held_out_subtitles(golden, expected):
    return [
        [
            j
            for j, (tokens, _) in enumerate(golden.subtitles(i))
            if len(expected[f"clip{i}/subtitle{j}/context_tokens"]) < 1 + len(tokens)
        ]
        for i in range(golden.num_clips)
    ]


def golden_matching_config(meta):
    """Returns the settings of VSM with which the vectors were made."""
    config = pretrain.get_config().vsm
    config.update(
        margin=meta["margin"],
        context_weight=meta["lw_neg_ctx"],
        query_weight=meta["lw_neg_q"],
        span_weight=meta["lw_st_ed"],
        hard_negatives_from=-1,
    )
    return config


def report_matching_losses(golden, file, expected, losses, prefix):
    for name in ("neg_ctx", "neg_q", "span"):
        key = prefix + {"span": "loss_st_ed"}.get(name, f"loss_{name}")
        if key in expected:
            golden.report.add(f"{file} {key}", expected[key], losses[name], OUTPUT_TOLERANCE)
        elif name != "span":
            golden.report.absent(f"{file} {key}")


def report_training(golden, steps):
    """Reports eight updates, if the directory has `training.npz`."""
    if not (golden.directory / "training.npz").exists():
        return
    expected = golden.load("training")
    steps = {name: steps.get(TASK_FILES.get(name, name)) for name in map(str, expected["tasks"])}
    if None in steps.values():
        golden.report.absent("training: the files of its tasks")
        return
    config = ml_collections.ConfigDict(
        {"learning_rate": 3e-3, "warmup_steps": 3, "steps": 10, "betas": (0.9, 0.98)}
    )
    learning_rate = optimizer.schedule(config)
    params = golden.params
    decay = optimizer.decay_mask(params)
    transform = optax.chain(
        optimizer.clip_by_global_norm(1.0),
        optimizer.adamw(learning_rate, config.betas, 0.01, decay),
    )

    @jax.jit
    def update(gradient, state, params, step):
        updates, state = transform.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return params, state, optax.tree.norm(gradient), learning_rate(step)

    state = jax.jit(transform.init)(params)
    for step, task in enumerate(expected["tasks"]):
        (loss, _), gradient = steps[str(task)](params)
        params, state, norm, rate = update(gradient, state, params, step)
        for name, value in (
            ("losses", loss),
            ("grad_norms", norm),
            ("learning_rates", rate),
        ):
            golden.report.add(
                f"training {name}[{step}]", expected[name][step], value, TRAINING_TOLERANCE
            )
    actual = by_original_name(flatten(params))
    actual[TIED_WORDS] = actual[WORDS]
    for name, array in expected.items():
        if name.startswith("final/"):
            value = actual[name.removeprefix("final/")][: len(array)]
            golden.report.add(f"training {name}", array, value, TRAINING_TOLERANCE)
