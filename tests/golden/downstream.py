"""Compares downstream tasks with the golden vectors; see `report.py`."""

import dataclasses
import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from configs import pretrain
from data.pipeline import choices
from data.schema import Query
from hero_jax.models.fusion import place_mask
from hero_jax.tasks import captioning
from hero_jax.tasks.base import Context
from hero_jax.tasks.losses import smoothed
from tests.golden.vectors import OUTPUT_TOLERANCE, ROW_LENGTH

# Weight of the span loss in the gradients of the vectors, as published for TVQA.
SPAN_WEIGHT = 0.4
CONTEXT = Context(key=jax.random.key(0), dropout_key=None, step=0)


def report_question_answering(golden):
    expected = golden.load("video_qa")
    if expected is None:
        return
    report = functools.partial(golden.report.add, tolerance=OUTPUT_TOLERANCE)
    batch = questions_batch(golden, expected)
    task = golden.task("question_answering", {"span_weight": SPAN_WEIGHT}, "any_name")
    golden = golden.with_head(task, expected)
    step = golden.differentiate(question_loss, batch, task)
    (total, outputs), gradient = step(golden.params)
    logits, answer_loss, span_loss, span_logits = outputs
    spans = [expected[f"clip{i}/span"] for i in range(golden.num_clips)]
    for name, value, actual in (
        ("logits", expected["logits"], logits),
        ("qa_loss", expected["qa_loss"], answer_loss),
        ("span_loss", expected["span_loss"], span_loss),
        ("sum of losses", expected["qa_loss"] + SPAN_WEIGHT * expected["span_loss"], total),
    ):
        report(f"video_qa {name}", value, actual)
    for i, places in enumerate(np.asarray(place_mask(batch))[0]):
        if (name := f"clip{i}/span_logits") in expected:
            report(f"video_qa {name}", expected[name], span_logits[i, places])
    golden.report.add("video_qa spans", spans, batch["query_spans"][0], 0.0)
    golden.gradients("grad/", expected, gradient)


def question_loss(module, batch, task):
    total, metrics = task.loss(module, batch, CONTEXT)
    logits, *spans = task.logits(module, batch, None)
    answer, span = metrics["answer_loss"], metrics["span_loss"]
    losses = answer[0] / answer[1], span[0] / jnp.maximum(span[1], 1)
    return total, (logits[0], *losses, jnp.stack(spans, axis=-1)[0])


def report_events(golden):
    expected = golden.load("vlep")
    if expected is None:
        return
    batch = events_batch(golden, expected)
    task = golden.task("question_answering", {}, "any_name")
    golden = golden.with_head(task, expected)
    (loss, outputs), gradient = golden.differentiate(question_loss, batch, task)(golden.params)
    for name, value in (("logits", outputs[0]), ("qa_loss", outputs[1]), ("qa_loss", loss)):
        golden.report.add(f"vlep {name}", expected[name], value, OUTPUT_TOLERANCE)
    golden.gradients("grad/", expected, gradient)


def report_inference(golden):
    expected = golden.load("violin")
    if expected is None:
        return
    batch, order = statements_batch(golden, expected), statements_order(expected)
    task = golden.task("inference", {"head": "qa"} if golden.value else {}, "any_name")
    golden = golden.with_head(task, expected)
    step = golden.differentiate(statement_loss, batch, task)
    (mean_loss, logits), gradient = step(golden.params)
    ordered = [logits[clip, which] for clip, which in order]
    golden.report.add("violin logits", expected["logits"], ordered, OUTPUT_TOLERANCE)
    golden.report.add("violin loss", expected["loss"], mean_loss, OUTPUT_TOLERANCE)
    golden.gradients("grad/", expected, gradient)


def statement_loss(module, batch, task):
    return task.loss(module, batch, CONTEXT)[0], task.logits(module, batch, None)[0]


def report_captioning(golden, file="captioning"):
    expected = golden.load(file)
    if expected is None:
        return
    task = captioning_task(golden, expected)
    golden = golden.with_head(task, expected)
    batch, captions = captions_batch(golden, expected)
    step = golden.differentiate(caption_loss, batch, task)
    (mean_loss, (scores, valid, losses)), gradient = step(golden.params)
    tokens = golden.compute(caption_tokens, batch, task)[0]
    # Captions of a whole clip have one row of tokens together.
    rows = [n for n, name in enumerate(captions) if file == "captioning" or "caption0" in name]
    for n, name in enumerate(captions):
        value = expected[f"{name}/logits"]
        golden.report.add(
            f"{file} {name}/logits", value, scores[0, n, : len(value)], OUTPUT_TOLERANCE
        )
    for name, value in (("token_losses", losses[valid]), ("mean_loss", mean_loss)):
        golden.report.add(f"{file} {name}", expected[name], value, OUTPUT_TOLERANCE)
    expected_tokens = until_end(expected["greedy_tokens"], golden.tokens)
    golden.report.add(f"{file} greedy_tokens", expected_tokens, tokens[rows], 0.0)
    golden.gradients("grad/", expected, gradient)


def until_end(tokens, special):
    """Returns tokens with padding after the end of each row, where the original goes on."""
    ended = np.cumsum(tokens == special.sep, axis=1) - (tokens == special.sep) > 0
    return np.where(ended, special.pad, tokens)


def captioning_task(golden, expected):
    blocks = golden.blocks["d_config"]
    settings = {
        "label_smoothing": float(expected["label_smoothing"]),
        "max_steps": int(expected["greedy_max_step"]),
        "decoding": "greedy",
        "beam_width": 1,
        "length_penalty": 0.0,
        "temperature": 1.0,
        "top_p": 1.0,
        "decoder_layers": blocks["num_hidden_layers"],
        "decoder_positions": blocks["max_position_embeddings"],
    }
    return golden.task("captioning", settings)


def caption_loss(module, batch, task):
    inputs, targets = captioning.shifted(batch, task.tokens)
    head = module.heads[task.head]
    scores = module.word_logits(captioning.decode(module, head, batch, inputs, None))
    losses = smoothed(scores, targets, task.settings.label_smoothing)
    return task.loss(module, batch, CONTEXT)[0], (scores, targets >= 0, losses)


def caption_tokens(module, batch, task):
    return task.predict(module, batch)["tokens"]


def captions_batch(golden, expected):
    """Returns the clips with their captions, and the names of the captions in the vectors."""
    names = [
        name.removesuffix("/tokens") for name in expected if re.fullmatch(r"clip.*/tokens", name)
    ]
    words = [expected[f"{name}/tokens"] for name in names]
    lengths = np.array([len(caption) for caption in words])
    token_ids = np.full((len(names), max(lengths)), golden.tokens.pad)
    for row, caption in zip(token_ids, words, strict=True):
        row[: len(caption)] = caption
    captions = {
        "query_clip": [int(re.match(r"clip(\d+)/", name)[1]) for name in names],
        "query_mask": [True] * len(names),
        "query_numbers": range(len(names)),
        "caption_ranges": [caption_frames(golden, expected, name) for name in names],
        "caption_token_ids": token_ids,
        "caption_lengths": lengths,
    }
    arrays = {name: np.array(value)[None] for name, value in captions.items()}
    return {**golden.batch, **arrays}, names


def caption_frames(golden, expected, name):
    """Returns the frames of a caption's segment, those of the whole clip if there is none."""
    clip = int(re.match(r"clip(\d+)/", name)[1])
    return expected.get(f"{name}/frame_range", (0, golden.batch["num_frames"][0, clip]))


def pack(golden, query_type, queries, versions):
    """Packs all clips as one group; queries: a list of questions or statements for each clip."""
    config = pretrain.get_config().batch
    config.update(
        clips_per_group=golden.num_clips,
        rows_per_group=versions * (golden.num_clips + 2),
        row_length=ROW_LENGTH,
        max_frames=golden.batch["clip_slot"].shape[-1],
        segmentation=golden.segmentation,
        max_subtitles=golden.max_subtitles,
        choices=versions,
    )
    metadata = SimpleNamespace(
        special_ids=golden.tokens,
        feature_width=golden.meta["frame_feature_dim"],
        query_type=query_type,
        seconds_per_feature=1.5,
    )
    layout = choices.Choices(config, metadata)
    batch = layout.arrays(1)
    batch["frame_features"] = batch["frame_features"].astype(np.float32)
    packer = layout.packer({name: array[0] for name, array in batch.items()})
    for i, clip_queries in enumerate(queries):
        prepared = layout.prepare(golden.clip(i), i, list(enumerate(clip_queries, i * versions)))
        if not packer.add(prepared):
            raise SystemExit("The clips do not fit the rows of this report.")
    return batch


def questions_batch(golden, expected, choice="answer"):
    """Returns the clips with their questions, or with events as questions without words."""
    questions = [question(expected, f"clip{i}", choice) for i in range(golden.num_clips)]
    return pack(golden, "question", [[query] for query in questions], len(questions[0].answers))


def events_batch(golden, expected):
    return questions_batch(golden, expected, "event")


def statements_batch(golden, expected):
    """Returns the clips with their statements."""
    statements = [
        [statement(expected, f"clip{i}/statement{k}_tokens") for k in range(2)]
        for i in range(golden.num_clips)
    ]
    for target, (clip, which) in zip(expected["targets"], statements_order(expected), strict=True):
        statements[clip][which] = dataclasses.replace(statements[clip][which], label=int(target))
    return pack(golden, "statement", statements, 2)


def statements_order(expected):
    """Returns (clip, statement) of each logit; VALUE's vectors have those of a clip together."""
    if "logits_order" not in expected:
        return [divmod(n, 2) for n in range(len(expected["targets"]))]
    return [tuple(map(int, re.findall(r"\d+", str(name)))) for name in expected["logits_order"]]


def question(expected, clip, choice="answer"):
    """Returns a question, or the events of a clip as a question without words and moment."""
    names = [name for name in expected if re.fullmatch(rf"{clip}/{choice}\d+_tokens", name)]
    answers = [expected[f"{clip}/{choice}{k}_tokens"] for k in range(len(names))]
    seconds = expected.get(f"{clip}/seconds", np.zeros(0))
    return dataclasses.replace(
        statement(expected, f"{clip}/question_tokens"),
        moments=seconds.astype(np.float64).reshape(-1, 2),
        answers=("",) * len(answers),
        answer_token_ids=np.concatenate(answers),
        answer_token_counts=np.array([len(answer) for answer in answers]),
        label=int(expected[f"{clip}/answer"]),
    )


def statement(expected, name):
    return Query(
        query_id=name,
        clip_id="",
        text="",
        token_ids=expected.get(name, np.zeros(0, np.int32)),
        moments=np.zeros((0, 2)),
        kind="",
        answers=(),
        answer_token_ids=np.zeros(0, np.int32),
        answer_token_counts=np.zeros(0, np.int32),
        label=-1,
        group="",
    )
