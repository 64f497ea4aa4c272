"""Several downstream tasks in one run, with one encoder and a head for each.

    python main.py --config=configs/multitask.py --workdir=runs/all --config.init_from=hero.pt

Any of a task's own settings can be changed as `--config.parts.tvr.batch.groups=4`; what it has of
the whole run (model, optimizer, seed, mesh) stands once, as `--config.optimizer.steps=5000`.
"""

from ml_collections import ConfigDict

from configs import finetune, pretrain, tvc, tvqa, tvr, violin

PARTS = {"tvr": tvr, "tvqa": tvqa, "violin": violin, "tvc": tvc}
# What only a part has.
OWN = ("data", "batch", *finetune.PRETRAINING)


def get_config(preset: str = ""):
    """The published recipes side by side, or with preset 'shapes' small ones."""
    config = pretrain.get_config()
    folder = config.data.dir
    for name in OWN:
        del config[name]
    config.data = ConfigDict({"dir": folder})
    config.parts = ConfigDict({name: part.get_config(preset) for name, part in PARTS.items()})
    # How often each is trained.
    config.tasks = ConfigDict(dict.fromkeys(PARTS, 1.0))
    config.model = config.parts.tvr.model.copy_and_resolve_references()
    config.optimizer.update(
        learning_rate=5e-5, steps=20_000, warmup_steps=2_000, head_rate_multiplier=10.0
    )
    config.eval_every = config.save_every = 1_000
    config.best_metric = "tvqa/accuracy"
    if preset == "shapes":
        config.optimizer.update(
            learning_rate=5e-4, steps=3_000, warmup_steps=300, head_rate_multiplier=1.0
        )
        config.eval_every = config.save_every = 3_000
    elif preset:
        finetune.unknown(preset, "multitask")
    return config
