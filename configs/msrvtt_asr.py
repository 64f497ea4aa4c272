"""MSR-VTT with transcribed speech as subtitles: find the clip that a sentence describes.

python main.py --config=configs/msrvtt_asr.py --workdir=runs/msrvtt_asr --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("msrvtt_asr", "video_retrieval", finetune.RETRIEVAL, "vr_r@1")
    finetune.recipe(config, batch=(4, 96, 2), learning_rate=7e-5, steps=4_000, eval_every=200)
    config.data.seconds_per_feature = 2.0
    config.batch.context_subtitles = 1
    config.video_retrieval.update(context_weight=10.0, query_weight=10.0, hard_pool=80)
    if preset == "shapes":
        finetune.shapes_clips(config)
    elif preset:
        finetune.unknown(preset, "msrvtt_asr")
    return config
