"""Pre-training with the settings that the authors of the paper published.

    python main.py --config=configs/pretrain.py --workdir=runs/tv --config.data.name=tv
    python main.py --config=configs/pretrain.py:shapes --workdir=runs/shapes

Defaults of the whole project are here; those of downstream tasks are in their own configs.
"""

from ml_collections import ConfigDict


def get_config(preset: str = "") -> ConfigDict:
    """Returns the full recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = ConfigDict()
    config.seed = 77
    config.data = _data()
    config.batch = _batch()
    config.model = _model()

    # Ratios by which tasks are drawn, or with 'weighted_sum' the weights of their losses.
    config.tasks = ConfigDict({"mlm": 2.0, "mfm_nce": 2.0, "mffr": 0.0, "fom": 1.0, "vsm": 2.0})
    config.objective = "one_task"  # per step, or 'weighted_sum' for all tasks in every step
    config.mlm = ConfigDict({"mask_probability": 0.15})
    # Frames that a hidden one is told from: those of its 'group', of the 'batch', or of groups with
    # a number of clips, as '32'.
    config.mfm_nce = ConfigDict({"mask_probability": 0.15, "candidates": "group"})
    config.mffr = ConfigDict({"mask_probability": 0.15})
    config.fom = ConfigDict({"shuffle_probability": 0.15})
    config.vsm = _vsm()
    config.optimizer = _optimizer()

    # With several downstream tasks in one run, the config of each by its name in `tasks`; see
    # configs/multitask.py.
    config.parts = ConfigDict()

    # Weights to start from: a run of this project, the original's checkpoint, or RoBERTa's.
    config.init_from = ""

    # Devices along each axis; -1 for all that remain. Parameters are sharded over fsdp and tensor,
    # and with shard_optimizer their means and second moments also over data.
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1, "shard_optimizer": True})

    config.log_every = 100
    config.eval_every = 2_000
    config.save_every = 2_000
    config.keep_checkpoints = 2
    # Of evaluation, or the mean of several with commas between; the best checkpoint by it is also
    # kept.
    config.best_metric = "vsm/r@1"
    config.checkpoint = "latest"  # to evaluate: 'latest', 'best' or a step
    # If the last checkpoint is damaged, stop ('error') or go on from the newest that is whole
    # ('previous').
    config.on_damaged_checkpoint = "error"
    config.profile_steps = 0  # number of steps to profile, after the first ten of the run
    config.keep_compiled = True  # keep compiled programs in the user's cache for the next run

    if preset == "shapes":
        small(config)
        _shapes(config)
    elif preset:
        raise ValueError(
            f"preset {preset!r} of configs/pretrain.py is unknown: the only one is 'shapes'"
        )
    return config


def _data() -> ConfigDict:
    """Returns the block of the datasets."""
    return ConfigDict(
        {
            "dir": "datasets",  # folder of the datasets that `python -m data.build` wrote
            # A dataset, or several to mix, separated by commas: 'tv,howto100m'. With several,
            # metrics have the dataset's name, as in howto100m/vsm/r@1; metrics without a name are
            # those of the first dataset that has the eval_split.
            "name": "tv",
            # Share of each dataset in training, as 0.7,0.3; () for their shares of all clips.
            "weights": (),
            "train_split": "train",
            "eval_split": "validation",
            # At a corrupt record, stop ('error') or leave it out ('skip').
            "on_corrupt": "error",
            # Seconds between two frames; data with another frame rate are an error.
            "seconds_per_feature": 1.5,
            # Networks that made the features: one of `hero_jax.extractors` or a group of them, as
            # resnet_slowfast; '' for any.
            "features": "",
            # Properties in which data may differ from a mixture's first dataset or from a
            # checkpoint, separated by commas: feature_widths, seconds_per_feature, tokenizer,
            # features (the networks that made them).
            "accept_mismatch": "",
        }
    )


def _batch() -> ConfigDict:
    """Returns the block of the batches.

    A batch has `groups` groups of `clips_per_group` clips, on any number of devices; an update
    spans `accumulation` batches. The authors used 32 clips on each of 16 GPUs, and 2 batches.
    """
    return ConfigDict(
        {
            "groups": 16,
            "clips_per_group": 32,
            "accumulation": 2,
            "row_length": 128,
            # 0 for as many rows as the clips of the training split need on average.
            "rows_per_group": 0,
            "query_rows_per_group": 0,
            # The same of rows that hold all frames of a clip or of several. Rows of 128 slots take
            # a TPU less time than rows of 100, and a CPU as much or more.
            "frame_rows_per_group": 0,
            "frame_row_length": 0,  # 0 for max_frames, the least
            "queries_per_clip": 5,
            "max_frames": 100,
            "max_tokens": 60,  # of a subtitle; longer ones are cut, and counted
            # Of a query, statement, caption, or question with its longest answer. Longer ones are
            # left out of training, and cut in evaluation; both are counted.
            "max_query_tokens": 60,
            "choices": 1,  # most answers of a question, or statements that are read together
            "context_subtitles": 0,
            # Subtitles of a clip that model.fusion='sequence' reads; more are left out, and their
            # words counted as cut. 0 for max_frames.
            "max_subtitles": 0,
            # 'subtitle': a segment is a subtitle with its frames; 'clip': a segment is a whole
            # clip, for the flat encoder, with its words cut to max_clip_tokens; 'frames': a segment
            # is all frames of a clip, without words. model.channels changes it to what they need.
            "segmentation": "subtitle",
            "max_clip_tokens": 400,
            # Clips of a group that may wait for the next batch because they did not fit.
            "max_waiting": 8,
        }
    )


def _model() -> ConfigDict:
    """Returns the block of the model."""
    return ConfigDict(
        {
            "encoder": "hierarchical",  # or 'text_only' (H-TRM), 'flat' (F-TRM)
            # What downstream tasks read of a clip: 'both', 'video' alone, or 'subtitle' alone. The
            # number of a clip's frames, and which are under a subtitle, stay known to the last.
            "channels": "both",
            # How downstream tasks join frames with subtitles: 'cross_modal' (HERO), or VALUE's
            # 'sequence', 'add', 'concat'.
            "fusion": "cross_modal",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_heads": 12,
            "cross_modal_layers": 6,
            "temporal_layers": 3,
            "vocab_size": 50265,
            "feature_size": 4352,
            "text_positions": 514,
            "segment_frames": 100,
            "clip_positions": 514,
            "query_positions": 514,
            "max_frames": 100,  # positions that frame order modelling predicts
            "dropout": 0.1,
            "attention_dropout": 0.1,
            "initializer_range": 0.02,
            "dtype": "bfloat16",
            "remat": False,  # recompute activations for the gradient: slower, with less memory
        }
    )


def _vsm() -> ConfigDict:
    """Returns the block of video-subtitle matching."""
    return ConfigDict(
        {
            "ranking": "hinge",  # or 'lse'
            "margin": 0.1,
            "context_weight": 8.0,
            "query_weight": 8.0,
            "span_weight": 0.01,
            "span_drop_probability": 0.8,
            "hard_negatives_from": 20_000,  # a step, or -1 for never
            "hard_pool": 20,
            "hard_weight": 10.0,
        }
    )


def _optimizer() -> ConfigDict:
    """Returns the block of the optimizer."""
    return ConfigDict(
        {
            "learning_rate": 3e-5,
            "steps": 100_000,
            "warmup_steps": 10_000,
            "betas": (0.9, 0.98),
            "weight_decay": 0.01,
            "max_gradient_norm": 1.0,  # 0 turns gradient clipping off
            "head_rate_multiplier": 1.0,  # factor of the learning rate outside the encoder
        }
    )


def _shapes(config: ConfigDict) -> None:
    """Sets up pre-training on the sample corpus that takes minutes on two cores."""
    config.data.name = "shapes"
    config.batch.update(groups=1, clips_per_group=16, accumulation=1, row_length=64)
    # A model uses frames for masked words only after it has learned to use the other words, so MLM
    # gets the most updates.
    config.tasks.update(mlm=5.0, mfm_nce=1.0, fom=0.5, vsm=2.0)
    config.mlm.mask_probability = 0.25
    config.vsm.update(span_drop_probability=0.0, hard_negatives_from=-1)
    config.optimizer.update(learning_rate=1.5e-3, steps=1_800, warmup_steps=200)
    config.log_every = 100
    config.eval_every = 1_800
    config.save_every = 900


def small(config: ConfigDict) -> None:
    """Sets the sizes of a small model for the sample corpus."""
    config.batch.max_frames = 50
    config.model.update(
        hidden_size=128,
        intermediate_size=512,
        num_heads=4,
        cross_modal_layers=2,
        temporal_layers=2,
        vocab_size=600,
        feature_size=208,
        text_positions=64,
        segment_frames=50,
        clip_positions=50,
        query_positions=64,
        max_frames=50,
        # The presets underfit in their few updates, and dropout would slow them down.
        dropout=0.0,
        attention_dropout=0.0,
        # Narrow layers need larger weights for outputs of the same size.
        initializer_range=0.03,
        dtype="float32",
    )
