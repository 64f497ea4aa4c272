"""The benchmark on real sentences calls commands with settings that exist, and prints its table."""

from benchmarks import sentences
from configs import pretrain


def test_settings_are_fields_of_the_config():
    config = pretrain.get_config()
    for name, value in sentences.SETTINGS.items():
        *blocks, field = name.split(".")
        block = config
        for part in blocks:
            block = block[part]
        assert isinstance(value, type(block[field]) | int), name


def test_a_run_per_seed_beside_the_original(monkeypatch, tmp_path, capsys):
    commands = []
    monkeypatch.setattr(sentences, "run", commands.append)
    monkeypatch.setattr(
        sentences.curves,
        "history",
        lambda workdir: {f"eval/{name}": {sentences.STEPS: 0.25} for name in sentences.ORIGINAL},
    )
    monkeypatch.setenv("HERO_SHARED", str(tmp_path))
    sentences.main(["--seeds", "1", "2", f"--out={tmp_path}"])
    built, *trained = commands
    assert built[1:4] == ["-m", "data.build", "raw"]
    assert ["--config.seed=1" in command for command in trained] == [True, False]
    lines = capsys.readouterr().out.splitlines()
    assert [line[:6] for line in lines[1:]] == ["seed 1", "seed 2", *["origin"] * 3]
