"""Pre-training, with the settings that the paper's authors published.

    python main.py --config=configs/pretrain.py --workdir=runs/tv --config.data.name=tv
    python main.py --config=configs/pretrain.py:shapes --workdir=runs/shapes

Every default of the project stands here and only here.
"""

from ml_collections import ConfigDict


def get_config(preset: str = "") -> ConfigDict:
    """The full recipe, or with preset 'shapes' a small model on the built-in sample corpus."""
    config = ConfigDict()
    config.seed = 77

    config.data = ConfigDict(
        {
            "dir": "datasets",  # where `python -m data.build` wrote to
            # A dataset, or several with commas between them to be mixed: 'tv,howto100m'. Evaluation
            # names the metrics of each of several, as howto100m/vsm/r@1; without a name they are
            # those of the first that has the eval_split.
            "name": "tv",
            # How often clips are from each dataset, as 0.7,0.3; (): by their numbers of clips.
            "weights": (),
            "train_split": "train",
            "eval_split": "validation",
            # What to do about a corrupt record: stop ('error') or leave it out ('skip').
            "on_corrupt": "error",
            # The frame rate that the model is made for; data of another are refused.
            "seconds_per_feature": 1.5,
            # In what, with commas between, data may differ from those of a mixture's first dataset
            # or of a checkpoint: feature_widths, seconds_per_feature, tokenizer. '': in nothing.
            "accept_mismatch": "",
        }
    )

    # A batch is `groups` of `clips_per_group` clips, however many devices share it; an update adds
    # up `accumulation` batches. The authors' 32 clips on each of 16 GPUs, twice.
    config.batch = ConfigDict(
        {
            "groups": 16,
            "clips_per_group": 32,
            "accumulation": 2,
            "row_length": 128,
            # 0: as many as the clips of the training split need on average.
            "rows_per_group": 0,
            "query_rows_per_group": 0,
            "queries_per_clip": 5,
            "max_frames": 100,
            "max_tokens": 60,  # of a subtitle; longer ones are cut, and counted
            # Of a query, statement, caption or question with its longest answer: those that are
            # longer are not trained on, and cut when they are evaluated. Both are counted.
            "max_query_tokens": 60,
            "choices": 1,  # at most so many answers of a question, or statements read together
            "context_subtitles": 0,
            # 'subtitle': a segment is a subtitle with its frames; 'clip': all of a clip is one, for
            # the flat encoder, its words cut to max_clip_tokens; 'frames': all frames are one,
            # without words.
            "segmentation": "subtitle",
            "max_clip_tokens": 400,
            # Clips of a group that may wait for the next batch because they did not fit.
            "max_waiting": 8,
        }
    )

    config.model = ConfigDict(
        {
            "encoder": "hierarchical",  # 'text_only' (H-TRM), 'flat' (F-TRM)
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
            "max_frames": 100,  # positions that frame order modelling tells apart
            "dropout": 0.1,
            "attention_dropout": 0.1,
            "initializer_range": 0.02,
            "dtype": "bfloat16",
            "remat": False,  # compute activations again for the gradient: slower, less memory
        }
    )

    # How often each task is trained, or with 'weighted_sum' the weight of its loss.
    config.tasks = ConfigDict({"mlm": 2.0, "mfm_nce": 2.0, "mffr": 0.0, "fom": 1.0, "vsm": 2.0})
    config.objective = "one_task"  # a task a step; 'weighted_sum': all of them in every step
    config.mlm = ConfigDict({"mask_probability": 0.15})
    config.mfm_nce = ConfigDict({"mask_probability": 0.15, "candidates": "group"})
    config.mffr = ConfigDict({"mask_probability": 0.15})
    config.fom = ConfigDict({"shuffle_probability": 0.15})
    config.vsm = ConfigDict(
        {
            "ranking": "hinge",  # 'lse'
            "margin": 0.1,
            "context_weight": 8.0,
            "query_weight": 8.0,
            "span_weight": 0.01,
            "span_drop_probability": 0.8,
            "hard_negatives_from": 20_000,  # -1: never
            "hard_pool": 20,
            "hard_weight": 10.0,
        }
    )

    config.optimizer = ConfigDict(
        {
            "learning_rate": 3e-5,
            "steps": 100_000,
            "warmup_steps": 10_000,
            "betas": (0.9, 0.98),
            "weight_decay": 0.01,
            "max_gradient_norm": 1.0,  # 0: gradients are not clipped
            "head_rate_multiplier": 1.0,  # of the rate of parameters outside of the encoder
        }
    )

    # Several downstream tasks in one run: the config of each, by its name in `tasks`; see
    # configs/multitask.py.
    config.parts = ConfigDict()

    # Weights to start from: a run of ours, or hero.pt, .npz, .safetensors, or RoBERTa's.
    config.init_from = ""

    # Devices: -1 takes what the others leave. Parameters are split over fsdp and tensor.
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})

    config.log_every = 100
    config.eval_every = 2_000
    config.save_every = 2_000
    config.keep_checkpoints = 2
    config.best_metric = "vsm/r@1"  # of evaluation; its best checkpoint is kept as well
    config.checkpoint = "latest"  # to evaluate: 'latest', 'best' or a step
    config.profile_steps = 0  # steps to profile, from the tenth of the run on

    if preset == "shapes":
        small(config)
        _shapes(config)
    elif preset:
        raise ValueError(f"Unknown preset {preset!r} of configs/pretrain.py; there is 'shapes'.")
    return config


def _shapes(config):
    """Pre-training that learns on the sample corpus in minutes on two cores."""
    config.data.name = "shapes"
    config.batch.update(groups=1, clips_per_group=16, accumulation=1, row_length=64)
    # Words need frames only once the other words are learnt, so this task gets the most updates.
    config.tasks.update(mlm=5.0, mfm_nce=1.0, fom=0.5, vsm=2.0)
    config.mlm.mask_probability = 0.25
    config.vsm.update(span_drop_probability=0.0, hard_negatives_from=-1)
    config.optimizer.update(learning_rate=1.5e-3, steps=1_800, warmup_steps=200)
    config.log_every = 100
    config.eval_every = 1_800
    config.save_every = 900


def small(config):
    """A small model for the sample corpus."""
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
        # So few updates do not overfit; they are too few as it is.
        dropout=0.0,
        attention_dropout=0.0,
        # Narrow layers need larger weights for the same outputs.
        initializer_range=0.03,
        dtype="float32",
    )
