"""Shared parts of the configs of downstream tasks; not an experiment of its own."""

from typing import NoReturn

from ml_collections import ConfigDict

from configs import pretrain

# Tasks of pre-training; a downstream run leaves their settings out.
PRETRAINING = tuple(pretrain.get_config().tasks)
# Settings of the query encoder's ranking loss, and of the search.
RETRIEVAL = {
    "ranking": "hinge",  # or 'lse'
    "margin": 0.1,
    "context_weight": 8.0,
    "query_weight": 8.0,
    "hard_negatives_from": 2_000,  # a step, or -1 for never
    "hard_pool": 20,
    "hard_weight": 10.0,
    "top_clips": 100,
    "temperature": 20.0,
}
MOMENTS = {
    **RETRIEVAL,
    "span_weight": 0.01,
    "span_drop_probability": 0.8,
    # A span of frames s..e is predicted if min_span <= e - s < max_span.
    "min_span": 2,
    "max_span": 16,
    "max_predictions": 200,
    # Of these, non-maximum suppression sees the best 100: the original, which is set to 200, cuts
    # its lists to 100 before. 200 for what it was meant to do.
    "nms_candidates": 100,
    # Of two predictions with a larger IoU, the better one is kept; 0 keeps all.
    "nms_iou": 0.0,
    "max_after_nms": 100,
    # How several moments of a query are read: as one from each of its 'annotators', or as 'windows'
    # that all fit it, which are evaluated as in QVHighlights.
    "several_moments": "annotators",
}

# Settings of the decoder of captions.
CAPTIONS = {
    "label_smoothing": 0.1,
    "decoder_layers": 2,
    "decoder_positions": 1_024,
    "max_steps": 30,  # largest number of tokens in a caption
    "decoding": "greedy",  # or 'beam', 'sample'
    "beam_width": 5,
    "length_penalty": 0.6,
    "temperature": 1.0,
    "top_p": 1.0,
    "head": "",  # name of a decoder that tasks share, as in VALUE; '' for the task's own
}
QUESTIONS = {
    "span_weight": 0.4,
    # Name of a head that tasks of questions and of statements share, as in VALUE; '' for the
    # task's own.
    "head": "",
}


def base(data: str, task: str, settings: dict, metric: str) -> ConfigDict:
    """Returns the defaults of `pretrain.py` with one downstream task in place of pre-training.

    Args:
      data: name of the dataset.
      task: name of the task in `hero_jax.tasks`.
      settings: of the task.
      metric: evaluation metric that selects the best checkpoint.
    """
    config = pretrain.get_config()
    for name in PRETRAINING:
        del config[name]
    config.tasks = ConfigDict({task: 1.0})
    config[task] = ConfigDict(settings)
    config.data.name = data
    config.batch.queries_per_clip = 1
    # Pre-training cuts subtitles at 60 tokens; these tasks read up to 120.
    config.batch.update(row_length=256, max_tokens=120)
    config.best_metric = f"{task}/{metric}"
    config.log_every = 50
    return config


def recipe(
    config: ConfigDict,
    *,
    batch: tuple[int, int, int],
    learning_rate: float,
    steps: int,
    eval_every: int,
    head_rate_multiplier: float = 1.0,
) -> None:
    """Sets the published batch and schedule, with a tenth of the steps for the warmup.

    Args:
      config: config to change.
      batch: groups, clips per group, and batches per update, on any number of devices.
      learning_rate: its peak.
      steps: of training.
      eval_every: steps between evaluations.
      head_rate_multiplier: factor of the learning rate outside the encoder.
    """
    groups, clips, accumulation = batch
    config.batch.update(groups=groups, clips_per_group=clips, accumulation=accumulation)
    config.optimizer.update(
        learning_rate=learning_rate,
        steps=steps,
        warmup_steps=steps // 10,
        head_rate_multiplier=head_rate_multiplier,
    )
    config.eval_every = config.save_every = eval_every


def shapes(
    config: ConfigDict, annotations: str, *, clips: int, steps: int, learning_rate: float
) -> None:
    """Sets up the small model on the sample corpus with annotations of a type.

    Args:
      config: config to change.
      annotations: the annotations, as in `python -m data.build shapes --queries`.
      clips: clips per batch.
      steps: of training.
      learning_rate: its peak.
    """
    pretrain.small(config)
    config.data.update(
        name=f"shapes_{annotations}",
        seconds_per_feature=1.5,
        eval_split="validation",
        features="",
    )
    config.batch.update(groups=1, clips_per_group=clips, accumulation=1, row_length=128)
    # The longest subtitle has 22 tokens, and 1% of the questions have more than 37; the model has
    # positions for 64 tokens in a segment.
    config.batch.update(max_tokens=24, max_query_tokens=37, context_subtitles=0)
    config.optimizer.update(
        learning_rate=learning_rate,
        steps=steps,
        warmup_steps=steps // 10,
        head_rate_multiplier=1.0,
    )
    config.eval_every = config.save_every = steps


def shapes_moments(config: ConfigDict) -> None:
    """Sets up the small model for moment retrieval on the sample corpus."""
    shapes(config, "query", clips=32, steps=300, learning_rate=1e-3)
    config.moment_retrieval.update(
        span_drop_probability=0.0, hard_negatives_from=-1, min_span=1, max_span=5
    )


def shapes_questions(config: ConfigDict) -> None:
    """Sets up the small model for questions on the sample corpus."""
    shapes(config, "question", clips=8, steps=1_400, learning_rate=5e-4)
    config.batch.update(choices=5, row_length=96)


def shapes_clips(config: ConfigDict) -> None:
    """Sets up the small model for video retrieval on the sample corpus."""
    shapes(config, "query", clips=32, steps=1_200, learning_rate=1e-3)
    config.video_retrieval.hard_negatives_from = -1


def shapes_statements(config: ConfigDict) -> None:
    """Sets up the small model for statements on the sample corpus."""
    shapes(config, "statement", clips=16, steps=1_500, learning_rate=5e-4)
    config.batch.row_length = 64


def shapes_captions(config: ConfigDict, annotations: str, *, captions_per_clip: int) -> None:
    """Sets up the small model for captions on the sample corpus.

    Args:
      config: config to change.
      annotations: see `shapes`.
      captions_per_clip: captions of a clip in a batch, at most.
    """
    shapes(config, annotations, clips=16, steps=300, learning_rate=1e-3)
    config.batch.update(max_query_tokens=60, queries_per_clip=captions_per_clip)
    config.captioning.decoder_positions = 64


def unknown(preset: str, name: str) -> NoReturn:
    """Raises ValueError for a preset that a config does not have."""
    raise ValueError(f"preset {preset!r} of configs/{name}.py is unknown: the only one is 'shapes'")
