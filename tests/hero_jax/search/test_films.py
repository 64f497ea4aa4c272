"""The command with films: from a folder to answers, and what it refuses."""

import json
import shutil
import subprocess
import sys

import pytest
import safetensors.numpy

from hero_jax.extractors import layouts, registry
from hero_jax.index import Index
from hero_jax.inference import exported
from hero_jax.search import __main__ as command
from hero_jax.search import films, loading
from hero_jax.search.__main__ import main
from tests.hero_jax.inference import export_samples as samples
from tests.hero_jax.search import film_samples
from tests.hero_jax.search.film_samples import write_film
from tests.paths import ROOT

QUERY = "a red circle jumps"


MODELS = {}


def load_once(path):
    """Loads each export once: that takes longer than all else here."""
    description = (path / exported.DESCRIPTION).read_text()
    if description not in MODELS:
        MODELS[description] = loading.load(path)
    return MODELS[description]


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """The tiny networks are among those that commands know."""
    monkeypatch.setattr(command, "load", load_once)
    monkeypatch.setattr(films, "load_model", load_once)
    for one in film_samples.NETWORKS:
        monkeypatch.setitem(registry.NETWORKS, one.name, one)
        monkeypatch.setitem(layouts.LAYOUTS, one.name, lambda arrays, shapes: dict(arrays))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_film(folder / "one.mp4", 1)
    write_film(folder / "two.mp4", 2, seconds=3)
    (folder / "one.en.srt").write_text("1\n00:00:01,000 --> 00:00:02,500\n" + QUERY)
    return folder


@pytest.fixture
def here(library, tmp_path, monkeypatch):
    """A folder with `films`, `model`, and the files of weights."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(library, "films")
    write_model(tmp_path / "model", known=True)
    for seed, name in enumerate(("", "other_")):
        for one in film_samples.extractors(seed):
            weights = film_samples.weights(one.name, seed)
            safetensors.numpy.save_file(weights, f"{name}{one.name}.safetensors")
    return tmp_path


def write_model(folder, known):
    """Writes an export that knows the networks of its features, or does not."""
    folder.mkdir()
    description = json.loads(json.dumps(samples.source().description))
    description["data"].pop("features", None)
    if known:
        description["data"]["features"] = [
            {"network": one.name, "weights": one.weights, "even_sampling": False}
            for one in film_samples.extractors()
        ]
    parts = {name: description[name] for name in ("model", "data", "batch", "ranking", "tasks")}
    description = exported.describe(**parts, params=samples.source().params)
    (folder / exported.DESCRIPTION).write_text(json.dumps(description))
    samples.tokenizer().save(folder / exported.TOKENIZER)
    content = safetensors.numpy.save(samples.source().params)
    (folder / exported.WEIGHTS).write_bytes(content)


WEIGHTS = ("--weights=frames=frames.safetensors", "--weights=centre=centre.safetensors")


def run(name, *arguments, videos="films", model="model", weights=WEIGHTS):
    main([name, f"--model={model}", f"--videos={videos}", "--index=index", *weights, *arguments])


def refused(*arguments, **options):
    with pytest.raises(SystemExit) as caught:
        run(*arguments, **options)
    return str(caught.value)


def ids():
    return sorted(name for _, name in Index("index").clip_ids())


def test_from_a_folder_of_films_to_answers_in_two_commands(here, capsys):
    run("add")
    assert "index: 2 films added, 0 replaced, 0 renamed, 0 unchanged, 0 dropped" in (
        capsys.readouterr().out
    )
    main(["query", QUERY, "--model=model", "--index=index", "--page=found.html"])
    assert QUERY in capsys.readouterr().out
    page = (here / "found.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 2
    assert ">one</" in page
    # The whole film, not only its moments, is the length of its time line.
    assert "0:04" in page
    run("add")
    assert "0 films added, 0 replaced, 0 renamed, 2 unchanged" in capsys.readouterr().out


def test_films_come_and_go(here, capsys):
    run("index", "--dtype=float32", "--thumbnails=0")
    assert Index("index").dtype == "float32"
    assert not (here / "index" / "thumbnails").exists()
    assert "index is not empty" in refused("index")
    (here / "films" / "two.mp4").unlink()
    capsys.readouterr()
    run("add", "--thumbnails=0")
    assert "note: 1 films of the index that are no longer there (two)" in capsys.readouterr().err
    run("add", "--thumbnails=0", "--drop_removed")
    assert "1 unchanged, 1 dropped" in capsys.readouterr().out
    assert ids() == ["one"]
    main(["delete", "one", "--index=index"])
    run("add")
    assert ids() == ["one"]
    assert len([*(here / "index" / "thumbnails").iterdir()]) == 1
    main(["delete", "one", "--index=index"])
    main(["compact", "--index=index"])
    assert [*(here / "index" / "thumbnails").iterdir()] == []


def test_films_that_cannot_be_used_do_not_keep_the_others_out(here, capsys):
    (here / "films" / "bad.mp4").write_bytes(b"no film" * 100)
    said = refused("add")
    assert "1 films are not in the index as they are now" in said
    assert ids() == ["one", "two"]
    assert "bad.mp4 cannot be opened as a film" in capsys.readouterr().err
    (here / "films" / "bad.mp4").unlink()
    run("add")


@pytest.mark.parametrize("name", ["add", "index"])
def test_no_index_is_left_if_no_film_can_be_used(here, name):
    (here / "films" / "one.mp4").write_bytes(b"")
    (here / "films" / "two.mp4").unlink()
    assert "1 films are not in the index" in refused(name)
    assert not (here / "index").exists()


def test_a_folder_without_films_is_refused(here):
    (here / "empty").mkdir()
    assert "empty holds no films" in refused("add", videos="empty")
    assert "nowhere does not exist: name a folder" in refused("add", videos="nowhere")
    assert "one.mp4 is no folder: name a folder" in refused("add", videos="films/one.mp4")
    assert not (here / "index").exists()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (WEIGHTS[:1], "centre needs its weights"),
        ((WEIGHTS[0], "--weights=centre=other_centre.safetensors"), "are not those that made"),
        ((*WEIGHTS, "--weights=resnet=x"), "weights for resnet, which is not among"),
        ((*WEIGHTS, "--networks=centre,frames"), "features of widths 2, 4, and the model reads"),
        ((*WEIGHTS, "--networks=resnet"), "features of widths 2048, and the model reads 4, 2"),
        ((*WEIGHTS, "--networks=frames,twin"), "names twin where the model was trained with cen"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_networks_and_weights_are_refused(here, monkeypatch, weights, said):
    monkeypatch.setitem(registry.NETWORKS, "twin", film_samples.NETWORKS[1])
    assert said in refused("add", weights=weights)
    assert not (here / "index").exists()


def test_a_model_that_does_not_know_its_networks_takes_them_on_trust(here, capsys):
    write_model(here / "old", known=False)
    assert "does not say which networks its features of widths 4, 2 are of" in refused(
        "add", model="old"
    )
    run("add", "--networks=frames,centre", model="old")
    assert "warning: old does not say which networks" in capsys.readouterr().err
    assert ids() == ["one", "two"]


def test_a_model_of_networks_that_are_not_known_here_is_refused(here, monkeypatch):
    monkeypatch.delitem(registry.NETWORKS, "centre")
    assert "model reads features of centre, which are not among the networks" in refused(
        "add", weights=WEIGHTS[:1]
    )
    assert not (here / "index").exists()


def test_another_model_is_refused(here):
    run("add")
    write_model(here / "other", known=False)
    assert "was made with another model" in refused(
        "add", "--networks=frames,centre", model="other"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--videos=films", "--data=data"], "both --videos and --data are given"),
        ([], "neither --videos nor --data is given"),
        (["--videos=films", "--split=train"], "--split is for a dataset"),
        (["--data=data", "--weights=x=y"], "--weights is for films"),
        (["--data=data", "--thumbnails=0"], "--thumbnails is for films"),
    ],
)
def test_films_and_datasets_exclude_each_other(arguments, said):
    with pytest.raises(SystemExit) as caught:
        main(["add", "--model=model", "--index=index", *arguments])
    assert said in str(caught.value)


def test_what_films_need_is_not_needed_otherwise():
    code = """
import sys
for name in ("av", "PIL", "h5py", "huggingface_hub"):
    sys.modules[name] = None
from hero_jax.search.__main__ import main
try:
    main(["add", "--model=none", "--videos=none", "--index=none"])
except SystemExit as exit:
    print(exit)
main(["query", "--help"])
"""
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    first, second = process.stdout.splitlines()[:2]
    assert first.startswith("error: films cannot be read without the package")
    assert "pip install 'hero_jax[videos]'" in first
    assert second.startswith("usage: ")
    assert (process.returncode, process.stderr) == (0, "")
