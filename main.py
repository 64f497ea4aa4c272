"""Runs an experiment: pre-training, or the evaluation of a checkpoint.

python main.py --config=configs/pretrain.py:shapes --workdir=runs/shapes
python main.py --config=configs/pretrain.py --workdir=DIR --config.data.name=NAME
python main.py --mode=evaluate --config=... --workdir=DIR --config.data.eval_split=test
"""

import os
import sys

# Before TensorFlow is imported: it greets.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging
from ml_collections import config_flags

from data.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Where checkpoints and logs of the run are.")
MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "What to do.")
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, to run in several processes."
)
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes there are.")
PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")


def main(_):
    import jax
    import tensorflow as tf

    # Orbax tells of every directory it makes.
    logging.set_verbosity(logging.WARNING)
    # TensorFlow only reads and writes files here; the accelerator's memory is JAX's.
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_visible_devices([], "TPU")
    if COORDINATOR.value:
        jax.distributed.initialize(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    from hero_jax import evaluate, train

    if MODE.value == "train":
        train.train(CONFIG.value, WORKDIR.value)
    else:
        evaluate.evaluate_checkpoint(CONFIG.value, WORKDIR.value)


def run():
    """Parses flags and runs; a wrong input ends in its sentence and status 1."""
    flags.mark_flags_as_required(["config", "workdir"])
    try:
        app.run(main)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    run()
