"""Runs an experiment: training, the evaluation of a checkpoint, or its export.

python main.py --config=configs/pretrain.py:shapes --workdir=runs/shapes
python main.py --config=configs/pretrain.py --workdir=DIR --config.data.name=NAME
python main.py --mode=evaluate --config=... --workdir=DIR --config.data.eval_split=test
python main.py --mode=export --workdir=DIR --out=EXPORT
"""

import gc
import re
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from data.arguments import user_path
from data.command import ends_with_a_sentence
from data.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment.", lock_config=True)
CONFIG_FLAGS = ("--config", "-config")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of checkpoints and logs of the run.")
MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate", "export"], "What to do.")
OUT = flags.DEFINE_string("out", None, "Where to write an export: a folder, or a .pt file.")
FORMAT = flags.DEFINE_enum(
    "format",
    "hero_jax",
    ["hero_jax", "hero-torch"],
    "Format of an export: a folder of ours, or the original's PyTorch state dict.",
)
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "latest", "Checkpoint of the run to export: latest, best or a step."
)
SECOND = flags.DEFINE_string(
    "second",
    None,
    "To evaluate with --workdir, a run of video alone: the workdir of one of subtitles alone.",
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, to run in several; 'auto' on a known cluster."
)
PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes.")
PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")


def main(_: list[str]) -> None:
    """Trains, evaluates or exports, by the flags."""
    import jax

    from hero_jax import host_memory
    from hero_jax.cache import keep_compiled

    host_memory.keep()
    # Orbax logs through absl every directory that it makes.
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().setLevel("ERROR")
    if COORDINATOR.value == "auto":
        jax.distributed.initialize()
    elif COORDINATOR.value:
        jax.distributed.initialize(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    if CONFIG.value is None or CONFIG.value.keep_compiled:
        keep_compiled()
    try:
        _run()
    except InputError as error:
        raise InputError(_with_flags(error)) from error


def _run() -> None:
    workdir = user_path(str(WORKDIR.value))
    if MODE.value == "export":
        from hero_jax import export

        write = export.export_torch if FORMAT.value == "hero-torch" else export.export
        write(workdir, user_path(str(OUT.value)), CHECKPOINT.value)
        return
    from hero_jax.training import evaluate, loop

    if MODE.value == "train":
        loop.train(CONFIG.value, workdir)
    elif SECOND.value:
        from hero_jax.training import two_streams

        two_streams.evaluate_two(CONFIG.value, workdir, user_path(SECOND.value))
    else:
        evaluate.evaluate_checkpoint(CONFIG.value, workdir)


def _with_flags(error: InputError) -> str:
    """Returns the sentence of an error, with its settings as the flags that set them."""
    from hero_jax.experiment.datasets import MissingDataset

    text = str(error)
    if CONFIG.value is not None:
        fields = [re.escape(name) for name in _fields(CONFIG.value)]
        # A field of a block, or a field of the config itself that is given a value.
        names = "|".join(name if r"\." in name else f"{name}(?==)" for name in fields)
        text = re.sub(rf"(?<![\w./-])({names})(?![\w/-]|\.\w)", r"--config.\1", text)
    elif MODE.value == "export":
        text = re.sub(r"(?<![\w./-])checkpoint(?==)", "--checkpoint", text)
    text = re.sub(r"\banother workdir\b", "another --workdir", text)
    text = re.sub(r"\bthe workdir of a run\b", "the --workdir of a run", text)
    if isinstance(error, MissingDataset):
        text += f": {_way_to_build(error.directory)}"
    return text


def _way_to_build(directory: Path) -> str:
    """Returns the end of a sentence about a dataset that does not exist."""
    sample, _, query_type = directory.name.partition("_")
    if sample == "shapes":
        queries = f" --queries={query_type}" if query_type else ""
        return f"build it with `python -m data.build shapes{queries} --out={directory}`"
    config = str(config_flags.get_config_filename(flags.FLAGS["config"])).partition(":")[0]
    return (
        f"build it with `python -m data.build raw --out={directory} ...` (see its --help), or take "
        f"the sample corpus with --config={config}:shapes"
    )


def _fields(config: ConfigDict, prefix: str = "") -> list[str]:
    """Returns the fields of a config, and of its blocks."""
    names = []
    for name, value in config.items():
        names.append(prefix + name)
        if hasattr(value, "items"):
            names += _fields(value, f"{prefix}{name}.")
    # A name before those that it begins.
    return sorted(names, key=len, reverse=True)


def parse(arguments: list[str]) -> list[str]:
    """Reads the flags.

    Raises:
      InputError: absl or ml_collections refuses one, or one is missing.
    """
    arguments = [in_home(*pair) for pair in zip(["", *arguments], arguments, strict=False)]
    given = re.search(r"(?m)^--?config(?:=|\n)([^:\n]*)", "\n".join(arguments))
    if given and not given[1].endswith(".py"):
        raise InputError(
            f"--config={given[1]} has to be a Python file with a function get_config, as "
            "configs/pretrain.py"
        )
    try:
        rest = flags.FLAGS(arguments)
        exporting = MODE.value == "export"
        if CONFIG.value is None and not exporting:
            raise InputError("--config is missing: name one, as --config=configs/pretrain.py")
        if CONFIG.value is not None:
            # The first use of the config: a file that could not be read raises its error here.
            CONFIG.value.lock()
    except (flags.Error, OSError) as error:
        # An error in a config file comes with a traceback before it.
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(reason.removeprefix("ValueError: ")) from error
    except (AttributeError, KeyError) as error:
        raise InputError(_unknown_field(error, arguments)) from error
    if SECOND.value and MODE.value != "evaluate":
        raise InputError(
            "--second is another run to evaluate: set --mode=evaluate, or leave it out"
        )
    if not WORKDIR.value:
        raise InputError("--workdir is missing: name a folder for checkpoints and logs")
    if exporting and CONFIG.value is not None:
        raise InputError("--mode=export takes no --config: the run in --workdir has its own")
    if exporting and not OUT.value:
        raise InputError("--out is missing: name a folder for the export, or a .pt file")
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r} is not a flag: write --NAME=VALUE")
    if COORDINATOR.value not in (None, "auto") and None in (PROCESSES.value, PROCESS.value):
        raise InputError("--coordinator=HOST:PORT needs --processes and --process as well")
    return rest


def in_home(before: str, argument: str) -> str:
    """Returns an argument, with the home directory for the `~` of --config.

    The parser of that flag does not replace it.

    Args:
      before: the argument before it.
    """
    flag, _, path = argument.partition("=")
    if before in CONFIG_FLAGS and argument.startswith("~"):
        return str(user_path(argument))
    if flag in CONFIG_FLAGS and path.startswith("~"):
        return f"{flag}={user_path(path)}"
    return argument


def _unknown_field(error: Exception, arguments: list[str]) -> str:
    """Returns a sentence about a flag for a field that the config does not have."""
    # ml_collections names only the last part of the field's path.
    words = re.findall(r"\w+", str(error))
    name = words[0] if isinstance(error, AttributeError) else words[-1]
    flag = re.compile(rf"--?config\.([\w.]+\.)?{name}\b")
    given = next((argument for argument in arguments if flag.match(argument)), None)
    if given is None:
        # The mistake is not on the command line, so it is in a config file.
        raise error
    suggestion = re.search(r'Did you mean "(\w+)"', str(error))
    advice = f"did you mean {suggestion[1]!r}?" if suggestion else "see those in the config file"
    return f"{given}: the config has no such field, {advice}"


def run() -> None:
    """Parses flags and runs; a wrong input ends in its sentence and status 1."""
    # Imports and traces make many objects that stay: looking for garbage among them takes a third
    # of the time.
    gc.set_threshold(50_000, 20, 50)
    with ends_with_a_sentence():
        app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
