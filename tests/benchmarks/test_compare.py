"""Two source trees are compared: small programs in place of main.py, and this tree with itself."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.compare import __main__ as command
from benchmarks.compare import runs
from tests.paths import ROOT

# Reports as main.py does; CPU seconds and the loss of a step are given.
PROGRAM = """
import json, pathlib, sys, time
given = dict(argument[2:].split("=", 1) for argument in sys.argv[1:] if argument[:2] == "--")
workdir, every = pathlib.Path(given["workdir"]), int(given["config.log_every"])
for step in range(1, 1000):
    end = time.process_time() + {seconds}
    while time.process_time() < end:
        pass
    if step % every == 0:
        row = {{"step": step, "data/clips_per_step": 4.0, "train/loss": {loss}}}
        row |= {{"train/gradient_norm": 1.0, "train/parameter_norm": 1.0}}
        with (workdir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + chr(10))
        print(f"step {{step}}: a headline", file=sys.stderr, flush=True)
"""


def make_tree(folder, seconds, loss="1.0 / step"):
    """A folder that can be compared, with PROGRAM as main.py."""
    for package in ("hero_jax", "data", "configs"):
        (folder / package).mkdir(parents=True)
    (folder / "main.py").write_text(PROGRAM.format(seconds=seconds, loss=loss))
    return str(folder)


def test_speed_of_a_clip_and_the_largest_difference_of_losses(tmp_path, capsys):
    slow = make_tree(tmp_path / "slow", 0.06)
    quick = make_tree(tmp_path / "quick", 0.02, loss="1.0 / step + (0.001 if step == 4 else 0)")
    given = ["--after", quick, "--tiny", "--pairs=2", "--tasks", "mlm", "--only", "small", "losses"]
    command.main([slow, *given])
    out = capsys.readouterr().out
    rate, cpu = re.findall(r"small by ratio, .*", out)
    assert float(rate.split()[4]) < 4 / 0.06
    before, _, _, _, faster, spread = cpu.split()[6:]
    assert float(before) == pytest.approx(1000 * 0.06 / 4, rel=0.4)
    assert 1.5 < float(faster) < 6
    low, high = map(float, spread.strip("()").split("-"))
    assert low <= float(faster) <= high
    assert "small mlm: losses: largest relative difference 4.0e-03 (4)" in out
    assert "loss of 6 steps: largest relative difference 4.0e-03 (4)" in out
    assert "gradient_norm of 6 steps: largest relative difference 0.0e+00" in out


def test_settings_are_of_the_second_tree_alone(tmp_path):
    tree = runs.Tree("after", tmp_path, {"mesh.data": 2})
    (tmp_path / "main.py").write_text(
        "import json, pathlib, sys\n"
        "given = dict(argument[2:].split('=', 1) for argument in sys.argv[1:])\n"
        "pathlib.Path(given['workdir'], 'given.json').write_text(json.dumps(given))\n"
    )
    seconds, cpu = runs.to_end(tree, {"seed": 3}, tmp_path, tmp_path / "cache")
    assert 0 < cpu < 60 * seconds
    given = json.loads((tmp_path / "given.json").read_text())
    assert (given["config.seed"], given["config.mesh.data"]) == ("3", "2")


def test_a_run_that_fails_is_shown(tmp_path):
    (tmp_path / "main.py").write_text("raise SystemExit('no such field')")
    tree = runs.Tree("before", tmp_path)
    with pytest.raises(SystemExit, match=r"ended before step 2:\nno such field"):
        runs.train(tree, {}, 2, tmp_path / "cache")
    with pytest.raises(SystemExit, match=r"failed:\nno such field"):
        runs.to_end(tree, {}, tmp_path, tmp_path / "cache")


def test_a_commit_is_checked_out_and_removed(monkeypatch, tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "main.py").write_text("old")
    subprocess.run([*git, "add", "main.py"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=old"], check=True)
    (tmp_path / "main.py").write_text("new")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    with command.checked_out(Path("HEAD")) as folder:
        assert (folder / "main.py").read_text() == "old"
    assert not folder.exists()
    with command.checked_out(tmp_path) as folder:
        assert folder == tmp_path.resolve()
    unknown = pytest.raises(SystemExit, match="neither a folder nor a commit")
    with unknown, command.checked_out(Path("x")):
        pass


@pytest.mark.slow
def test_this_tree_has_the_losses_of_itself(capsys):
    command.main([str(ROOT), "--tiny", "--pairs=1", "--only", "losses"])
    differences = re.findall(r"largest relative difference (\S+)", capsys.readouterr().out)
    assert differences == ["0.0e+00"] * 3
