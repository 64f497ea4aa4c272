"""How2R: find the moment that a sentence describes, in instructional videos.

python main.py --config=configs/how2r.py --workdir=runs/how2r --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("how2r", "moment_retrieval", finetune.MOMENTS, "vcmr_r@1_iou0.7")
    # Without pre-training, the published recipe has 6,000 steps, hard negatives from step 2,000.
    finetune.recipe(config, batch=(8, 32, 2), learning_rate=1e-4, steps=3_000, eval_every=200)
    config.moment_retrieval.update(
        span_drop_probability=0.9, hard_negatives_from=1_000, min_span=3, max_span=20
    )
    if preset == "shapes":
        finetune.shapes_moments(config)
    elif preset:
        finetune.unknown(preset, "how2r")
    return config
