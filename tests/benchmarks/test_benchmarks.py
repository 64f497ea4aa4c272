"""Every benchmark runs to its end on a tiny size."""

import re

import numpy as np
import pytest

from benchmarks import (
    dropout,
    extract,
    generate,
    imports,
    index,
    loader,
    recall,
    retrieval,
    serve,
    step,
    text_only,
)
from configs import pretrain
from hero_jax.index import STORES
from tests.hero_jax.index.index_samples import needs


@pytest.fixture
def here(monkeypatch):
    """Runs in this process what the benchmarks run in new ones, and takes one sample of each."""
    for module in (extract, index, loader, recall, retrieval):
        monkeypatch.setattr(module, "in_new_process", lambda function, *given: function(*given))
    for module in (dropout, index):
        monkeypatch.setattr(module, "REPEATS" if module is dropout else "SAMPLES", 1)


def numbers(line: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", line)]


def test_dropout_times_each_source_of_bits(here, capsys):
    dropout.main(["--rows=1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(numbers(line)[-2] > 0 for line in lines[1:])


def test_extract_runs_networks_and_decodes_a_film(here, capsys):
    extract.main(["--networks=efficientnet-lite0", "--rows=1", "--repeats=1", "--seconds=3"])
    *_, network, film = capsys.readouterr().out.splitlines()
    assert network.startswith("efficientnet-lite0")
    assert numbers(network.removeprefix("efficientnet-lite0"))[1] > 0
    # Two rows of whole frames, of their centres and of clips.
    assert film.startswith("decoded 3 s")
    assert "6 rows" in film


def test_generate_writes_the_same_tokens_with_and_without_a_cache(capsys):
    sizes = "--width=64 --layers=1 --vocabulary=50 --moments=2 --frames=4 --steps=3 --repeats=1"
    generate.main(sizes.split())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("same tokens 100.0%" in line for line in lines[1:])


def test_imports_counts_clips_and_megabytes(capsys):
    imports.main(["--clips=4", "--workers=1"])
    _, line = capsys.readouterr().out.splitlines()
    workers, seconds, *_, memory = numbers(line)
    assert workers == 1
    assert seconds > 0
    assert memory > 0


def test_loader_reads_two_sizes(here, monkeypatch, capsys):
    monkeypatch.setattr(loader, "FEATURE_SIZE", 8)
    loader.main(["--clips=40", "--read=40"])
    _, *lines = capsys.readouterr().out.splitlines()
    assert [numbers(line)[0] for line in lines] == [40, 160]
    assert all(0 < numbers(line)[-1] <= 100 for line in lines)


def test_retrieval_prints_each_search_and_corpus(here, shallow, capsys):
    retrieval.main(["--queries=20", "--clips=12", "--corpora", "10", "--small"])
    out = capsys.readouterr().out
    assert "encoding 20 queries" in out
    assert out.count("all F x F spans of") == 2
    assert "bfloat16, 64 queries" in out
    assert "1,000,000 clips take 92.2 GB" in out


def test_index_is_searched_from_disk_and_memory(here, tmp_path, capsys):
    index.main(["--clips=40", f"--folder={tmp_path}", "--queries", "1", "--small"])
    out = capsys.readouterr().out
    assert "40 clips x 32 x 128" in out
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["disk", "memory"]
    assert not any(tmp_path.iterdir())


def test_serve_loses_nothing_under_load(monkeypatch, capsys):
    monkeypatch.setattr(serve, "WAYS", {"gathered": ("--most_at_once=2",)})
    monkeypatch.setattr(serve, "READINGS", (0.5, 1.0))
    serve.main(["--clips=40", "--clients", "2", "--seconds=0.5", "--requests=40"])
    _, _, load, memory, stop = capsys.readouterr().out.splitlines()
    assert load.split()[:2] == ["gathered", "2"]
    assert all(number > 0 for number in numbers(load))
    assert "requests (40 answered" in memory
    assert ", 0 not answered; ended with status 0 " in stop


@pytest.mark.parametrize("store", STORES)
def test_index_compares_a_store_with_the_exact_search(here, monkeypatch, tmp_path, capsys, store):
    needs(store)
    monkeypatch.setattr(recall, "QUERIES", 5)
    index.main([f"--store={store}", "--clips=120", f"--folder={tmp_path}", "--small"])
    _, _, *rows, build, disk, cpu = capsys.readouterr().out.splitlines()
    assert [numbers(row)[0] for row in rows] == [30, 60, 120]
    # Stores of few clips score all of them.
    assert all(numbers(row)[3:6] == [1, 1, 1] for row in rows)
    assert all(min(numbers(row)[6:]) > 0 for row in rows)
    for line, name in ((build, "build"), (disk, "disk"), (cpu, "cpu")):
        assert re.fullmatch(rf"{name} grows as clips\^-?[\d.]+: [\d,.]+ \w+ for 1,000,000", line)
    assert not any(tmp_path.iterdir())


def test_step_compares_packed_and_padded_rows(shallow, capsys):
    step.main(["--task=mlm", "--clips=2", "--steps=1", "--small"])
    *_, packed, padded, ratio = capsys.readouterr().out.splitlines()
    assert packed.split()[:2] == ["packed", "mlm"]
    assert padded.split()[:2] == ["padded", "mlm"]
    assert ratio.startswith("packed / padded, mlm: ")


def test_text_only_reports_all_kinds_of_annotations(capsys):
    text_only.main(["--num_clips=40"])
    out = capsys.readouterr().out
    assert re.search(r"^questions +all .*chance 20%", out, re.MULTILINE)
    assert re.search(r"^statements +all .*chance 50%", out, re.MULTILINE)
    assert "queries: " in out
    assert "captions: " in out


def test_step_packs_the_same_clips_in_both_layouts():
    config = pretrain.get_config()
    pretrain.small(config)
    config.batch.update(groups=2, clips_per_group=2)
    groups = step.make_clips(config)
    (packed, counts), (padded, same_counts) = (
        step.make_batch(groups, config.copy_and_resolve_references(), packed)
        for packed in (True, False)
    )
    assert counts == same_counts
    assert counts["clips"] == 4
    assert np.unique(packed["clip_numbers"]).size == 4
    for name in ("segment_ids", "query_segment_ids"):
        assert np.count_nonzero(packed[name]) == np.count_nonzero(padded[name])
        assert padded[name].max() == 1
