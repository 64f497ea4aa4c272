"""Scores submissions to VALUE, and makes them of runs.

python -m hero_jax.value score submission --references=value_data
python -m hero_jax.value submit runs/tvr runs/vlep --split=test --references=value_data --out=my.zip
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from data.arguments import user_path
from data.command import Parser, ends_with_a_sentence, path_argument
from data.errors import InputError
from hero_jax.value.scores import Scores, score_all
from hero_jax.value.submission import submit
from hero_jax.value.tasks import GROUPS, PHASES, TASKS


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command."""
    options = _parser().parse_args(arguments)
    with ends_with_a_sentence():
        options.run(options)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m hero_jax.value", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="score|submit")
    scoring = commands.add_parser("score", help="scores the files of a submission")
    scoring.set_defaults(run=_score)
    scoring.add_argument(
        "submission", type=path_argument, help="folder with TASK/TASK_SPLIT_predictions.json"
    )
    scoring.add_argument("--split", choices=PHASES, help="default: both")
    submitting = commands.add_parser("submit", help="makes a submission of predictions")
    submitting.set_defaults(run=_submit)
    submitting.add_argument(
        "runs", nargs="+", metavar="[TASK=]RUN", help="workdirs of runs, or folders of predictions"
    )
    submitting.add_argument("--split", choices=PHASES, required=True)
    submitting.add_argument("--out", type=path_argument, required=True, help="zip file to write")
    for command in (scoring, submitting):
        command.add_argument(
            "--references",
            type=path_argument,
            required=command is scoring,
            help="folder with VALUE's published annotations and TASK_video2dur_idx.json",
        )
    return parser


def _score(options: argparse.Namespace) -> None:
    phases = [options.split] if options.split else PHASES
    results = {phase: score_all(options.submission, options.references, phase) for phase in phases}
    if not any(scores.details for scores in results.values()):
        reasons = "; ".join(
            f"{name}: {why}"
            for scores in results.values()
            for name, why in scores.not_scored.items()
            if not why.startswith("no " + name + "/")
        )
        raise InputError(
            f"{options.submission} has nothing to score ({reasons or 'no file of predictions'}): "
            "name the folder that holds TASK/TASK_SPLIT_predictions.json"
        )
    print("\n\n".join(_shown(*item) for item in results.items() if item[1].details))


def _shown(phase: str, scores: Scores) -> str:
    """Returns a table of scores."""
    lines = [f"{phase} (percent)"]
    for group in GROUPS:
        of_group = [name for name in scores.details if TASKS[name].group == group]
        for name in of_group:
            details = {**scores.details[name]}
            total = details.pop("score")
            more = "  ".join(f"{key} {value:.2f}" for key, value in details.items())
            lines.append(f"  {name:<28}{total:>8.2f}  {more}".rstrip())
        lines.append(f"  {f'{group} ({len(of_group)} tasks)':<28}{scores.groups[group]:>8.2f}")
    count = len(scores.details)
    mean = "meta-average (11 tasks)" if count == len(TASKS) else f"mean of {count} of 11 tasks"
    lines.append(f"  {mean:<28}{scores.meta_average:>8.2f}")
    program = f"average of {count + len(GROUPS)} numbers"
    lines.append(
        f"  {program:<28}{scores.program_average:>8.2f}  the scoring program's: tasks and groups"
    )
    lines += [f"  {name}: not scored, {why}" for name, why in scores.not_scored.items()]
    return "\n".join(lines)


def _submit(options: argparse.Namespace) -> None:
    runs = [_task_and_run(text) for text in options.runs]
    found = submit(runs, options.split, options.references, options.out)
    for name, path in found.items():
        print(f"{name}: {path}")
    missing = [name for name in TASKS if name not in found]
    print(f"{options.out}: {len(found)} of {len(TASKS)} tasks")
    if missing:
        print(f"not in it: {', '.join(missing)}")


def _task_and_run(text: str) -> tuple[str, Path]:
    """Returns the task and the path of `TASK=RUN`, '' and the path of `RUN` alone."""
    name, equals, path = text.partition("=")
    if equals and name in TASKS:
        return name, user_path(path)
    return "", user_path(text)


if __name__ == "__main__":
    main()
