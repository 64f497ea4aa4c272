"""DiDeMo without subtitles: find the moment that a sentence describes.

python main.py --config=configs/didemo_video.py --workdir=runs/video --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("didemo", "moment_retrieval", finetune.MOMENTS, "vcmr_r@1_iou0.7")
    finetune.recipe(config, batch=(4, 32, 1), learning_rate=7e-5, steps=5_000, eval_every=200)
    config.batch.update(segmentation="frames", row_length=128, max_frames=20)
    config.moment_retrieval.update(
        context_weight=10.0, query_weight=10.0, hard_pool=80, min_span=3, max_span=6
    )
    if preset == "shapes":
        finetune.shapes_moments(config)
    elif preset:
        finetune.unknown(preset, "didemo_video")
    return config
