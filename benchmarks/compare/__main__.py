"""Speed of two source trees side by side: a commit, and this folder or another commit.

    HERO_SHARED=DIR python -m benchmarks.compare COMMIT [--after=COMMIT] [--pairs=5]
    HERO_SHARED=DIR python -m benchmarks.compare COMMIT --only small losses

Each figure is of a new process of main.py, and the two trees take turns. The table has medians, and
in brackets the lowest and the highest: of each tree, and of how many times as fast the second is,
pair by pair. CPU is that of user and system.

small     steps of the model of `benchmarks.sentences` on its data, task by task, and their mean by
          the recipe's ratios
full      the same at full size: 8 simulated clips a step, packed, in float32
evaluate  evaluation of a checkpoint of the small model on 400 clips and their queries, as a process
start     of the small model: from the start of the process to the end of the first step, and to
          the first step after which every task has been trained
losses    200 steps of the small model, with tasks drawn by their ratios: the largest difference

`evaluate` and `start` run twice, with an empty cache of compiled programs and again with what the
first has kept. HERO_SHARED is the folder with `tvr_text` and `roberta_bpe`; `--tiny` takes a tiny
model and simulated clips everywhere, to try the command.
"""

import argparse
import contextlib
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from benchmarks.compare.comparison import RATIOS, Comparison
from benchmarks.compare.runs import Tree
from benchmarks.measuring import setting
from data.command import ends_with_a_sentence, path_argument, terminable

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def checked_out(name: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a folder: the one of that name, or a commit of this repository in a worktree."""
    if name.is_dir():
        yield name.resolve()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        added = subprocess.run([*git, "add", "--quiet", "--detach", str(folder), str(name)])
        if added.returncode:
            sys.exit(f"error: {name} is neither a folder nor a commit")
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__.splitlines()[0]
    )
    kinds = ("small", "full", "evaluate", "start", "losses")
    parser.add_argument("before", type=path_argument, help="a commit, or a source tree's folder")
    parser.add_argument("--after", type=path_argument, default=ROOT, help="default: this folder")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=kinds,
        default=kinds,
        metavar="MEASUREMENT",
        help=f"some of {', '.join(kinds)}; default: all",
    )
    parser.add_argument("--pairs", type=int, default=3, help="of runs; default: %(default)s")
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=RATIOS,
        default=[*RATIOS],
        metavar="TASK",
        help=f"for steps, some of {', '.join(RATIOS)}; default: all",
    )
    parser.add_argument(
        "--settings",
        type=setting,
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="fields of the config that the second tree alone gets",
    )
    parser.add_argument("--tiny", action="store_true", help="a tiny model, to try the command")
    options = parser.parse_args(arguments)
    with ends_with_a_sentence(), terminable(), contextlib.ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory())
        before, after = (
            stack.enter_context(checked_out(name)) for name in (options.before, options.after)
        )
        trees = Tree("before", before), Tree("after", after, dict(options.settings))
        for tree in trees:
            # Modules of a new worktree are not compiled yet.
            packages = [str(tree.folder / name) for name in ("hero_jax", "data", "configs")]
            subprocess.run([sys.executable, "-m", "compileall", "-q", *packages], check=True)
        comparison = Comparison(trees, pathlib.Path(temporary), options)
        print(f"{'':38} {'before':>24} {'after':>24} {'times as fast':>20}", flush=True)
        for kind in options.only:
            getattr(comparison, kind)()


if __name__ == "__main__":
    main()
