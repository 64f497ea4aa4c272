"""TVR: find the moment that a sentence describes, in a corpus of television clips.

python main.py --config=configs/tvr.py --workdir=runs/tvr --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("tvr", "moment_retrieval", finetune.MOMENTS, "vcmr_r@1_iou0.7")
    finetune.recipe(config, batch=(8, 32, 2), learning_rate=1e-4, steps=5_000, eval_every=200)
    config.moment_retrieval.nms_iou = 0.5
    if preset == "shapes":
        finetune.shapes_moments(config)
    elif preset:
        finetune.unknown(preset, "tvr")
    return config
