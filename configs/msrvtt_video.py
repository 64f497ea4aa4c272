"""MSR-VTT without subtitles: find the clip that a sentence describes.

python main.py --config=configs/msrvtt_video.py --workdir=runs/video --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("msrvtt", "video_retrieval", finetune.RETRIEVAL, "vr_r@1")
    finetune.recipe(config, batch=(4, 96, 2), learning_rate=7e-5, steps=4_000, eval_every=200)
    config.data.seconds_per_feature = 2.0
    config.batch.update(segmentation="frames", row_length=128)
    config.video_retrieval.update(context_weight=10.0, query_weight=10.0, hard_pool=80)
    if preset == "shapes":
        finetune.shapes_clips(config)
    elif preset:
        finetune.unknown(preset, "msrvtt_video")
    return config
