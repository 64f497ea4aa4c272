"""How2QA: answer questions about instructional videos, with four answers each.

python main.py --config=configs/how2qa.py --workdir=runs/how2qa --config.init_from=hero.pt
"""

from ml_collections import ConfigDict

from configs import finetune


def get_config(preset: str = "") -> ConfigDict:
    """Returns the published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("how2qa", "question_answering", finetune.QUESTIONS, "accuracy")
    finetune.recipe(
        config,
        batch=(8, 8, 1),
        learning_rate=5e-5,
        steps=2_000,
        eval_every=200,
        head_rate_multiplier=10.0,
    )
    config.batch.update(choices=4, max_query_tokens=120)
    if preset == "shapes":
        finetune.shapes_questions(config)
    elif preset:
        finetune.unknown(preset, "how2qa")
    return config
