"""A tiny model with all heads, as an export has it, and clips for it."""

import functools

import numpy as np
from flax import nnx

from configs import finetune
from data.tokenizer import Tokenizer
from hero_jax.experiment.compatibility import plain
from hero_jax.inference import exported
from hero_jax.inference.model import Model
from hero_jax.models.params import flatten
from tests.hero_jax import tiny
from tests.hero_jax.random_models import random_model

WORDS = "a red circle jumps over the blue square and then it spins around slowly"
WIDTHS = (4, 2)
SECONDS = 1.5
QUERY_TOKENS = 14


@functools.cache
def tokenizer():
    return Tokenizer.train([WORDS] * 3, 300)


@functools.cache
def source(**changes) -> exported.Exported:
    """changes: of the batch."""
    config, words = tiny.make_config(), tokenizer()
    config.model.update(vocab_size=words.vocab_size, query_positions=20, text_positions=60)
    batch = {
        **{name: config.batch[name] for name in ("row_length", "rows_per_group")},
        **{name: config.batch[name] for name in ("clips_per_group", "max_frames", "max_tokens")},
        **{name: config.batch[name] for name in ("segmentation", "max_clip_tokens")},
        # Two clips and more in a row.
        "frame_rows_per_group": 2,
        "frame_row_length": 2 * config.batch.max_frames,
        "max_query_tokens": QUERY_TOKENS,
        "context_subtitles": 0,
        **changes,
    }
    spans = {"min_span": 0, "max_span": 4, "nms_candidates": 5, "nms_iou": 0.5}
    moments = {**finetune.MOMENTS, **spans, "top_clips": 6}
    captions = {**finetune.CAPTIONS, "decoder_positions": 20, "max_steps": 6}
    tasks = {
        name: {"kind": name, "settings": settings, "batch": batch}
        for name, settings in (
            ("moment_retrieval", moments),
            ("question_answering", {"span_weight": 0.4}),
            ("inference", {}),
            ("captioning", captions),
        )
    }
    data = {
        "feature_widths": list(WIDTHS),
        "seconds_per_feature": SECONDS,
        "tokenizer": words.identity,
        "tokenizer_name": "",
        "vocab_size": words.vocab_size,
        "special_ids": [words.special.cls, words.special.pad, words.special.sep, 4],
    }
    names = exported.RankingSettings.__dataclass_fields__
    parts = {
        "model": plain(config.model),
        "data": data,
        "batch": batch,
        "ranking": {name: moments[name] for name in names},
        "tasks": tasks,
    }
    bare = exported.Exported({**parts, "format": 1, "identity": ""}, {}, words)
    heads = {name: task.make_head for name, task in bare.tasks().items() if task.has_head}
    _, state = random_model(config.model, heads)
    params = {path: np.asarray(value) for path, value in flatten(state).items()}
    return exported.Exported(exported.describe(**parts, params=params), params, words)


@functools.cache
def model() -> Model:
    return Model(source())


@functools.cache
def clips():
    """Clips of all kinds: one frame, no subtitles, no words, frames under no subtitle."""
    rng = np.random.default_rng(0)
    made = []
    for number, (frames, said) in enumerate(
        [
            (1, [(0, 1.5)]),
            (7, []),
            (3, [(0, 1.0), (1.6, 1.6), (2.0, 4.0)]),
            (9, [(0.2, 4.0), (4.5, 6.0), (9.1, 13.5)]),
            (6, [(3.0, 6.0)]),
        ]
    ):
        lines = [(*times, " ".join(rng.choice(WORDS.split(), 3))) for times in said]
        features = rng.normal(size=(frames, sum(WIDTHS))).astype(np.float16)
        made.append(model().clip(f"c{number}", features, lines))
    return made


def merged():
    """The model itself."""
    return nnx.merge(model().graphdef, model().params)
