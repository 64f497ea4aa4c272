"""What the configs of downstream tasks have in common. Not an experiment of its own."""

from ml_collections import ConfigDict

from configs import pretrain

# Tasks of pre-training, whose settings a downstream run has no use for.
PRETRAINING = ("mlm", "mfm_nce", "mffr", "fom", "vsm")
# Of the query encoder's ranking and span losses, and of what is searched for.
RETRIEVAL = {
    "ranking": "hinge",  # 'lse'
    "margin": 0.1,
    "context_weight": 8.0,
    "query_weight": 8.0,
    "hard_negatives_from": 2_000,  # a step; -1: never
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
    "nms_iou": 0.0,  # of predictions that overlap more the better is kept; 0: all are
    "max_after_nms": 100,
}


def base(data: str, task: str, settings: dict, metric: str) -> ConfigDict:
    """The defaults of `pretrain.py` with one downstream task in place of pre-training.

    Args:
      data: name of the dataset.
      task: its name in `hero_jax.tasks`.
      settings: of the task.
      metric: of evaluation, by which the best checkpoint is kept.
    """
    config = pretrain.get_config()
    for name in PRETRAINING:
        del config[name]
    config.tasks = ConfigDict({task: 1.0})
    config[task] = ConfigDict(settings)
    config.data.name = data
    config.batch.queries_per_clip = 1
    # Longer subtitles are not cut, unless they fill a row.
    config.batch.update(row_length=256, max_tokens=120)
    config.best_metric = f"{task}/{metric}"
    config.log_every = 50
    return config


def recipe(config, *, batch, rate: float, steps: int, every: int, head_rate: float = 1.0):
    """The published batch and schedule, with a tenth of the steps to warm up.

    Args:
      batch: groups, clips in each, and batches in an update, whatever the number of devices.
      rate: learning rate, and head_rate what multiplies it outside of the encoder.
      every: steps between evaluations.
    """
    groups, clips, accumulation = batch
    config.batch.update(groups=groups, clips_per_group=clips, accumulation=accumulation)
    config.optimizer.update(
        learning_rate=rate, steps=steps, warmup_steps=steps // 10, head_rate_multiplier=head_rate
    )
    config.eval_every = config.save_every = every


def shapes(config, annotations: str, *, clips: int, steps: int, rate: float):
    """The small model on the sample corpus with annotations of a type, for minutes on two cores."""
    pretrain.small(config)
    config.data.update(name=f"shapes_{annotations}", seconds_per_feature=1.5)
    config.batch.update(groups=1, clips_per_group=clips, accumulation=1, row_length=128)
    # The longest subtitle has 22 tokens, and 1% of questions more than 37; the model has places
    # for 64 tokens in a segment.
    config.batch.update(max_tokens=24, max_query_tokens=37, context_subtitles=0)
    config.optimizer.update(
        learning_rate=rate, steps=steps, warmup_steps=steps // 10, head_rate_multiplier=1.0
    )
    config.eval_every = config.save_every = steps


def shapes_moments(config):
    """The same for moment retrieval."""
    shapes(config, "query", clips=32, steps=300, rate=1e-3)
    config.moment_retrieval.update(
        span_drop_probability=0.0, hard_negatives_from=-1, min_span=1, max_span=5
    )


def shapes_questions(config):
    """The same for questions."""
    shapes(config, "question", clips=8, steps=1_400, rate=5e-4)
    config.batch.update(choices=5, row_length=96)


def unknown(preset: str, name: str):
    """Raises ValueError for a preset that a config does not have."""
    raise ValueError(f"Unknown preset {preset!r} of configs/{name}.py; there is 'shapes'.")
