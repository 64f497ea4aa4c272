"""Runs an experiment: training, the evaluation of a checkpoint, or its export.

python main.py --config=configs/pretrain.py:shapes --workdir=runs/shapes
python main.py --config=configs/pretrain.py --workdir=DIR --config.data.name=NAME
python main.py --mode=evaluate --config=... --workdir=DIR --config.data.eval_split=test
python main.py --mode=export --workdir=DIR --out=EXPORT
"""

import os
import re

# Before TensorFlow is imported: it greets.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import app, flags, logging
from ml_collections import config_flags

from data.command import ends_with_a_sentence
from data.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment.", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Where checkpoints and logs of the run are.")
MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate", "export"], "What to do.")
OUT = flags.DEFINE_string("out", None, "Where to write an export: a folder, or a .pt file.")
FORMAT = flags.DEFINE_enum(
    "format",
    "hero_jax",
    ["hero_jax", "hero-torch"],
    "Of an export: a folder of ours, or the original's PyTorch state dict.",
)
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "latest", "Of the run to export: 'latest', 'best' or a step."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, to run in several; 'auto' on a known cluster."
)
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes there are.")
PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")


def main(_):
    import jax
    import tensorflow as tf

    # Orbax, which logs through absl, tells of every directory it makes and warns of what is meant.
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().setLevel("ERROR")
    # TensorFlow only reads and writes files here; the accelerator's memory is JAX's.
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_visible_devices([], "TPU")
    if COORDINATOR.value == "auto":
        jax.distributed.initialize()
    elif COORDINATOR.value:
        jax.distributed.initialize(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    if MODE.value == "export":
        from hero_jax import export

        write = export.export_torch if FORMAT.value == "hero-torch" else export.export
        write(WORKDIR.value, OUT.value, CHECKPOINT.value)
        return
    from hero_jax.training import evaluate, loop

    if MODE.value == "train":
        loop.train(CONFIG.value, WORKDIR.value)
    else:
        evaluate.evaluate_checkpoint(CONFIG.value, WORKDIR.value)


def parse(arguments: list[str]) -> list[str]:
    """Reads the flags; InputError for what absl or ml_collections refuses, or for one missing."""
    try:
        rest = flags.FLAGS(arguments)
        exporting = MODE.value == "export"
        if CONFIG.value is None and not exporting:
            raise InputError("--config is missing: name one, as --config=configs/pretrain.py.")
        if CONFIG.value is not None:
            # The first use of the config: if its file could not be read, this says so.
            CONFIG.value.lock()
    except (flags.Error, OSError) as error:
        # What a config file raises comes with a traceback before it.
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(reason.removeprefix("ValueError: ")) from error
    except (AttributeError, KeyError) as error:
        raise InputError(_unknown_field(error, arguments)) from error
    if not WORKDIR.value:
        raise InputError("--workdir is missing: name a folder for checkpoints and logs.")
    if exporting and CONFIG.value is not None:
        raise InputError("--mode=export takes no --config: the run in --workdir has its own.")
    if exporting and not OUT.value:
        raise InputError("--out is missing: name a folder for the export, or a .pt file.")
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r} is no flag: write --NAME=VALUE.")
    if COORDINATOR.value not in (None, "auto") and None in (PROCESSES.value, PROCESS.value):
        raise InputError("--coordinator=HOST:PORT needs --processes and --process as well.")
    return rest


def _unknown_field(error, arguments):
    """A sentence about a flag for a field that the config does not have."""
    # Of the field's path, ml_collections names the last part alone.
    words = re.findall(r"\w+", str(error))
    name = words[0] if isinstance(error, AttributeError) else words[-1]
    flag = re.compile(rf"--?config\.([\w.]+\.)?{name}\b")
    given = next((argument for argument in arguments if flag.match(argument)), None)
    if given is None:
        # Not about the command line, so a mistake in a config file.
        raise error
    meant = re.search(r'Did you mean "(\w+)"', str(error))
    advice = f"did you mean {meant[1]!r}?" if meant else "see the config file for those it has."
    return f"{given}: the config has no such field; {advice}"


def run():
    """Parses flags and runs; a wrong input ends in its sentence and status 1."""
    with ends_with_a_sentence():
        app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
