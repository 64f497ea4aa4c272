"""How2QA: questions with four answers about instructional videos.

python main.py --config=configs/how2qa.py --workdir=runs/how2qa --config.init_from=hero.pt
"""

from configs import finetune


def get_config(preset: str = ""):
    """The published recipe, or with preset 'shapes' a small model on the sample corpus."""
    config = finetune.base("how2qa", "question_answering", {"span_weight": 0.4}, "accuracy")
    finetune.recipe(config, batch=(8, 8, 1), rate=5e-5, steps=2_000, every=200, head_rate=10.0)
    config.batch.update(choices=4, max_query_tokens=120)
    if preset == "shapes":
        finetune.shapes_questions(config)
    elif preset:
        finetune.unknown(preset, "how2qa")
    return config
