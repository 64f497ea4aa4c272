"""DiDeMo with transcribed speech as subtitles: find the moment that a sentence describes.

python main.py --config=configs/didemo_asr.py --workdir=runs/didemo_asr --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("didemo_asr", "moment_retrieval", finetune.MOMENTS, "vcmr_r@1_iou0.7")
    finetune.recipe(config, batch=(8, 32, 2), learning_rate=1e-4, steps=5_000, eval_every=200)
    config.moment_retrieval.update(context_weight=10.0, query_weight=10.0, hard_pool=80)
    if preset == "shapes":
        finetune.shapes_moments(config)
    elif preset:
        finetune.unknown(preset, "didemo_asr")
    return config
