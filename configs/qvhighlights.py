"""QVHighlights: find all windows of a video that a sentence describes.

python main.py --config=configs/qvhighlights.py --workdir=runs/qvhighlights \
    --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns our recipe, or with preset 'shapes' a small model on the sample corpus.

    HERO was not published on this benchmark. This is TVR's recipe for a fifth of the queries, with
    windows of any length in videos of 75 frames, one every 2 s.
    """
    config = finetune.base("qvhighlights", "moment_retrieval", finetune.MOMENTS, "mr_map")
    finetune.recipe(config, batch=(4, 32, 1), learning_rate=1e-4, steps=3_000, eval_every=200)
    config.data.seconds_per_feature = 2.0
    config.moment_retrieval.update(
        several_moments="windows",
        hard_negatives_from=1_000,
        min_span=0,
        max_span=75,
        nms_iou=0.7,
    )
    if preset == "shapes":
        finetune.shapes_moments(config)
    elif preset:
        finetune.unknown(preset, "qvhighlights")
    return config
