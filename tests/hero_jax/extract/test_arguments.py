"""Each wrong argument gets one sentence that names it and says what to do."""

import resource
from pathlib import Path

import pytest

from data.errors import InputError
from hero_jax.extract.__main__ import main
from hero_jax.extract.networks import chosen, with_weights
from tests.hero_jax.extract.samples import files, write_film, write_weights


def test_networks_and_groups_keep_their_order():
    assert chosen("slowfast, resnet") == ("slowfast", "resnet")
    assert chosen("clip-vit_mil-nce,resnet") == ("clip-vit", "mil-nce", "resnet")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("resnett", "there is no network 'resnett': use resnet or "),
        ("resnet_slowfast,resnet", "the network resnet is named twice: name it once"),
        ("", "no network is named: use one of resnet, slowfast"),
        ("blip", "there is no network 'blip': use "),
    ],
)
def test_names_of_networks_that_are_wrong(names, sentence):
    with pytest.raises(InputError) as caught:
        chosen(names)
    assert str(caught.value).startswith(sentence)


def test_weights_are_files_with_commas_in_their_names_too(tmp_path):
    found = with_weights(("resnet", "clip-vit"), ["resnet=/a,b.pth,clip-vit=/c/d=e.pt"])
    assert [(name, str(path)) for name, path in found] == [
        ("resnet", "/a,b.pth"),
        ("clip-vit", "/c/d=e.pt"),
    ]
    found = with_weights(("clip-vit", "resnet"), ["resnet=a.pth", "clip-vit=b.pt"])
    assert found == (("clip-vit", Path.cwd() / "b.pt"), ("resnet", Path.cwd() / "a.pth"))
    assert with_weights(("efficientnet-lite0",), []) == (("efficientnet-lite0", None),)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (
            [],
            ["resnet needs its weights", "--weights=resnet=FILE", "resnet152-394f9c45.pth", "BSD"],
        ),
        (["resnet.pth"], ["'resnet.pth' is no NETWORK=FILE"]),
        (["resnet="], ["'resnet=' is no NETWORK=FILE"]),
        (["clip-vit=a.pt"], ["weights for clip-vit, which is not among the networks resnet"]),
        (["resnet=a.pth", "resnet=b.pth"], ["weights of resnet are given twice"]),
    ],
)
def test_weights_that_are_wrong(weights, words):
    with pytest.raises(InputError) as caught:
        with_weights(("resnet",), weights)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("seconds", ["3/0", "0", "-1", "a", "1e9", "1/31", "nan", "inf"])
def test_seconds_that_are_none(seconds, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["a.mp4", "--networks=resnet", f"--seconds_per_feature={seconds}", "--out=out"])
    assert caught.value.code == 2
    assert f"argument --seconds_per_feature: {seconds!r}" in capsys.readouterr().err


def sentence(printed):
    assert printed.status == 1
    (line,) = [line for line in printed.out.splitlines() if line.startswith("error: ")]
    return line


def test_weights_of_another_network(films, extract, written):
    printed = extract(
        films,
        f"--weights=efficientnet-lite0={written / 'weights.pt'}",
        networks="efficientnet-lite0",
        weights=None,
    )
    assert f"{written / 'weights.pt'} holds " in sentence(printed)


def test_weights_that_are_not_there(films, extract, tmp_path):
    printed = extract(films, weights=tmp_path / "none.pt")
    assert f"{tmp_path / 'none.pt'} does not exist" in sentence(printed)


def test_speech_is_refused_before_any_film(films, extract, tmp_path):
    printed = extract(films, "--subtitles=whisper", f"--whisper_model={tmp_path}")
    assert f"{tmp_path} holds no model.bin" in sentence(printed)
    assert not (tmp_path / "out").exists()


def test_a_rate_that_a_network_does_not_have(films, extract):
    printed = extract(films, "--seconds_per_feature=2", networks="shapes")
    assert "seconds per feature is '2': give 3/2" in sentence(printed)
    assert "failed" not in printed.err


def test_no_film_is_found(extract, tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.srt").write_text("")
    assert f"{tmp_path / 'films'} " in sentence(extract(tmp_path / "films"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to(films, extract, tmp_path):
    (tmp_path / "out").write_text("a file")
    assert f"{tmp_path / 'out'} could not be written to" in sentence(extract(films))


def test_other_features_that_are_not_there(films, extract, tmp_path):
    printed = extract(films, f"--check={tmp_path / 'none'}")
    assert f"{tmp_path / 'none'} to compare with does not exist" in sentence(printed)


def test_a_full_disk_ends_the_command_and_keeps_what_is_finished(extract, tmp_path):
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films" / "a.mp4", 3)
    # Nothing is compiled and cached while the disk is full.
    arguments = [tmp_path / "films", "--seconds_per_feature=1/2"]
    extract(*arguments, networks="colours")
    write_film(tmp_path / "films" / "b.mp4", 90, rate=5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Descriptions have 600 bytes, and features of a long film have more.
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))
    try:
        printed = extract(*arguments, networks="colours")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in sentence(printed)
    assert "finished films are kept" in sentence(printed)
    assert {name.split("/")[1] for name in files(tmp_path / "out")} == {"a.npz", "a.json"}
    again = extract(*arguments, networks="colours")
    assert "1 films done, 1 were finished before" in again.out


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films" / "a.mp4", 3)
    write_weights(tmp_path / "weights.pt")
    given = ["--networks=colours", "--weights=colours=~/weights.pt", "--out=~/out"]
    main(["~/films", *given])
    main(["~/films/*.mp4", *given, "--check=~/out", "--check=colours=~/out/colours"])
    assert capsys.readouterr().out.count("colours: 1 films with 2 rows compared") == 2
    assert {*files(tmp_path / "out")} == {"colours/a.npz", "colours/a.json"}


@pytest.mark.parametrize("pixels", ["0", "-1", "a"])
def test_pixels_that_are_no_number(pixels, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["a.mp4", "--networks=resnet", f"--max_pixels={pixels}", "--out=out"])
    assert caught.value.code == 2
    assert f"argument --max_pixels: {pixels!r} is no number of pixels" in capsys.readouterr().err
