"""Several downstream tasks in one run, with a shared encoder and a head for each.

    python main.py --config=configs/multitask.py --workdir=runs/all --config.init_from=hero.pt

A task's own settings are changed as in `--config.parts.tvr.batch.groups=4`, settings of the whole
run (model, optimizer, seed, mesh) as in `--config.optimizer.steps=5000`.
"""

from ml_collections import ConfigDict

from configs import finetune, pretrain, tvc, tvqa, tvr, violin

PARTS = {"tvr": tvr, "tvqa": tvqa, "violin": violin, "tvc": tvc}
# Blocks that each part has for itself.
BLOCKS_OF_PARTS = ("data", "batch", *finetune.PRETRAINING)


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipes side by side, or with preset 'shapes' small ones."""
    config = pretrain.get_config()
    folder = config.data.dir
    for name in BLOCKS_OF_PARTS:
        del config[name]
    config.data = ConfigDict({"dir": folder})
    config.parts = ConfigDict({name: part.get_config(preset) for name, part in PARTS.items()})
    # The ratios by which tasks are drawn.
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
