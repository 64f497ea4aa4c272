"""The JSON API: what it finds, plays and refuses."""

import dataclasses
import datetime
import http.client
import json
import os
import shutil
import socket
import urllib.parse

import numpy as np
import pytest

from hero_jax.index import Index, Writer
from hero_jax.search import search
from tests.hero_jax.inference import export_samples as samples
from tests.hero_jax.search import film_samples
from tests.hero_jax.search.server import serving

QUERY = "a red circle jumps"


def test_finds_what_the_library_finds(client, library):
    (expected,) = search(samples.model(), Index(library[1]), [QUERY], top=50)
    status, reply = client.post("/api/search", query=QUERY, top=50)
    assert status == 200
    found = [(m["clip_id"], m["start"], m["end"]) for m in reply["moments"]]
    assert found == [(one.clip_id, one.start, one.end) for one in expected]
    lines = [[line.text for line in one.lines] for one in expected]
    assert [[line["text"] for line in m["lines"]] for m in reply["moments"]] == lines
    assert any(serving.SAID in texts for texts in lines)


def found(client, **fields):
    return {moment["video_id"] for moment in client.search(QUERY, top=100, **fields)}


def test_filters_leave_films_out(client):
    everything = found(client)
    assert everything == {serving.HOSTILE, serving.RECORD, "one", "season 1/two"}
    assert found(client, filters={"videos": ["one"]}) == {"one"}
    assert found(client, filters={"folder": "season 1"}) == {"season 1/two"}
    today = datetime.date.today()
    near = {"since": str(today - datetime.timedelta(1)), "until": str(today)}
    assert found(client, filters=near) == everything - {serving.RECORD}
    assert found(client, filters={"until": "2001-01-01"}) == set()
    status, reply = client.post("/api/search", query=QUERY, filters={"folder": "season 2"})
    assert (status, "no video in folder 'season 2'" in reply["error"]) == (422, True)


def test_what_is_said_is_searched_too(client, library):
    (expected,) = search(samples.model(), Index(library[1]), ["slowly"], top=20, said=0.5)
    both = client.search("slowly", said=0.5)
    assert [m["score"] for m in both] == [pytest.approx(one.score) for one in expected]
    spoken = client.search("slowly", said=1)
    assert [moment["video_id"] for moment in spoken] == [serving.HOSTILE]
    assert "slowly" in spoken[0]["lines"][0]["text"]


def test_scores_are_shares_of_the_best_and_of_the_film(client):
    _, reply = client.post("/api/search", query=QUERY, top=20)
    best, *others = (m["of_best"] for m in reply["moments"])
    assert best == 1
    assert all(0 < share <= 1 for share in others)
    curves = {film["film"]["video_id"]: film for film in reply["films"]}
    for moment in reply["moments"]:
        curve = curves[moment["video_id"]]
        weights = np.exp(20 * np.array(curve["curve"]))
        inside = slice(*(round(moment[name] / curve["step"]) for name in ("start", "end")))
        assert moment["of_film"] == pytest.approx(weights[inside].sum() / weights.sum(), rel=0.01)


def test_a_curve_has_the_cosine_of_every_frame(client, library):
    _, reply = client.post("/api/search", query=QUERY)
    index = Index(library[1])
    (query,) = samples.model().encode_queries([QUERY])
    for film in reply["films"]:
        best = np.full(len(film["curve"]), -1.0)
        for number, _ in index.clip_ids():
            clip = index.describe(number)
            if clip.video_id != film["film"]["video_id"]:
                continue
            frames = index.frames([number])[0, : clip.num_frames].astype(np.float32)
            norms = np.linalg.norm(frames, axis=1) * np.linalg.norm(query)
            first = round(clip.start / samples.SECONDS)
            place = slice(first, first + clip.num_frames)
            best[place] = np.maximum(best[place], frames @ query / norms)
        assert film["curve"] == pytest.approx(best, abs=2e-4)


def test_similar_moments_are_others_than_the_one_itself(client):
    moment = client.search(QUERY)[0]
    given = {name: moment[name] for name in ("clip_id", "start", "end")}
    status, reply = client.post("/api/similar", **given, top=5)
    assert status == 200
    assert reply["moments"]
    for found in reply["moments"]:
        is_apart = found["end"] <= moment["start"] or found["start"] >= moment["end"]
        assert found["clip_id"] != moment["clip_id"] or is_apart
    assert client.post("/api/similar", clip_id="none", start=0, end=1)[0] == 404
    status, reply = client.post("/api/similar", clip_id=moment["clip_id"], start=900, end=901)
    assert status == 422
    assert "has no frame from 900 to 901 s" in reply["error"]


def test_questions_statements_and_captions_are_the_models(client):
    assert client.get("/api/about")["tasks"] == ["answer", "judge", "caption"]
    answers = ["the red circle", "the blue square"]
    given = {"video_id": "one", "clip_id": "one#0"}
    status, answer = client.post("/api/answer", **given, question="what jumps?", answers=answers)
    assert (status, answer["clip_id"]) == (200, "one#0")
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert answer["best"] == int(np.argmax(answer["probabilities"]))
    assert 0 <= answer["start"] <= answer["end"] <= 13.5
    status, judged = client.post("/api/judge", **given, statement="it spins")
    assert status == 200
    assert 0 <= judged["probability"] <= 1
    status, told = client.post("/api/caption", video_id="one", start=3, end=6)
    assert status == 200
    assert isinstance(told["caption"], str)
    # The clip that fits the text best, if none is named.
    status, judged = client.post("/api/judge", video_id="one", statement="it spins")
    assert (status, judged["clip_id"].partition("#")[0]) == (200, "one")
    assert client.post("/api/judge", video_id="no", statement="it spins")[0] == 404
    assert client.post("/api/judge", video_id="one", clip_id="x", statement="it")[0] == 404
    assert client.post("/api/caption", video_id="one", start=900, end=901)[0] == 422


def test_films_are_listed_page_by_page(client):
    first = client.get("/api/films", limit=2)
    assert first["more"]
    names = [film["video_id"] for film in first["films"]]
    rest = client.get("/api/films", after=names[-1])
    assert not rest["more"]
    names += [film["video_id"] for film in rest["films"]]
    assert names == sorted([serving.HOSTILE, serving.RECORD, "one", "season 1/two"])
    (two,) = client.get("/api/films", containing="SEASON")["films"]
    assert (two["video_id"], two["duration"], two["plays"]) == ("season 1/two", 16, True)
    about = client.get("/api/about")
    folders = [serving.RECORD.rpartition("/")[0], "season 1"]
    assert (about["films"], about["folders"], about["adds"]) == (4, folders, True)


def test_a_film_is_sent_whole_and_in_ranges(client, library):
    content = (library[0] / "one.mp4").read_bytes()
    status, headers, whole = client.ask("GET", "/film?id=one")
    assert (status, whole) == (200, content)
    assert headers["content-type"] == "video/mp4"
    for asked, part in (
        ("bytes=0-9", content[:10]),
        ("bytes=10-", content[10:]),
        ("bytes=-7", content[-7:]),
        (f"bytes=5-{len(content) + 9}", content[5:]),
        (f"bytes=-{len(content) + 9}", content),
    ):
        status, ranged, got = client.ask("GET", "/film?id=one", range=asked)
        assert (status, got) == (206, part)
        first = len(content) - len(part) if "0-9" not in asked else 0
        assert ranged["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(content)}"
    for asked in ("bytes=2-1", "bytes=0-1,4-5", "letters=0-1", "bytes=-", "bytes"):
        assert client.ask("GET", "/film?id=one", range=asked)[::2] == (200, content)
    for asked in (f"bytes={len(content)}-", "bytes=-0"):
        status, ranged, got = client.ask("GET", "/film?id=one", range=asked)
        assert (status, ranged["content-range"]) == (416, f"bytes */{len(content)}")
    status, head, got = client.ask("HEAD", "/film?id=one")
    assert (status, head["content-length"], got) == (200, str(len(content)), b"")
    tag = headers["etag"]
    assert client.ask("GET", "/film?id=one", if_none_match=tag)[::2] == (304, b"")
    part = client.ask("GET", "/film?id=one", if_range=tag, range="bytes=0-9")
    assert part[::2] == (206, content[:10])
    assert client.ask("GET", "/film?id=one", if_range='"x"', range="bytes=0-9")[0] == 200


def test_thumbnails_and_subtitles(client):
    status, headers, content = client.ask("GET", "/thumbnail?id=one&second=4.6")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert client.ask("GET", "/thumbnail?id=one&second=4.4")[2] == content
    assert client.ask("GET", "/thumbnail?id=one&second=10.6")[2] != content
    again = client.ask("GET", "/thumbnail?id=one&second=4.6", if_none_match=headers["etag"])
    assert again[0] == 304
    status, headers, text = client.ask("GET", "/subtitles?id=one")
    assert (status, headers["content-type"]) == (200, "text/vtt; charset=utf-8")
    assert text.decode().startswith("WEBVTT\n\n00:00:04.000 --> 00:00:07.500\nthe red circle")
    assert "jumps &amp; jumps" in text.decode()
    (record,) = client.get("/api/films", containing="script")["films"]
    assert (record["plays"], record["pictures"]) == (False, False)
    query = urllib.parse.urlencode({"id": record["video_id"]})
    assert "&lt;img src=x onerror" in client.ask("GET", f"/subtitles?{query}")[2].decode()
    for route in (f"/film?{query}", f"/thumbnail?{query}&second=1"):
        assert client.ask("GET", route)[0] == 404


def test_what_lies_outside_the_folders_is_not_there(client, library):
    films = library[0]
    secret = films.parent / "secret.mp4"
    secret.write_text("secret")
    for name in ("/etc/passwd", "../secret", str(secret), "films.sqlite", "one.mp4", "one\0"):
        quoted = name.replace("/", "%2F").replace("\0", "%00")
        for route in ("/film", "/subtitles", "/thumbnail"):
            assert client.ask("GET", f"{route}?id={quoted}&second=1")[0] in (404, 422)
    for path in ("/../options.py", "/%2e%2e/options.py", "//etc/passwd", "/..%2foptions.py"):
        assert client.ask("GET", path)[0] == 404
    assert client.post("/api/add", path="..")[0] == 404
    assert client.post("/api/add", path=str(secret))[0] == 404
    for name in ("../x.mp4", "a/b.mp4", ".x.mp4", "x.py", "one.mp4"):
        answer = client.ask(
            "POST",
            f"/api/upload?name={name.replace('/', '%2F')}",
            b"x",
            content_type="application/octet-stream",
        )
        assert answer[0] == 422
    # A link that leads outside the folder is not followed.
    (films / "one.mp4").rename(films / "kept")
    try:
        (films / "one.mp4").symlink_to(secret)
        assert client.ask("GET", "/film?id=one")[0] == 404
        listed = client.get("/api/films")["films"]
        assert [film["plays"] for film in listed if film["video_id"] == "one"] == [False]
    finally:
        (films / "kept").replace(films / "one.mp4")


def test_only_pages_of_the_server_itself_may_ask(client):
    assert client.ask("GET", "/api/about", host="other.example")[0] == 421
    assert client.ask("GET", "/api/about", host=f"localhost:{client.port}")[0] == 200
    body = json.dumps({"query": QUERY})
    assert client.ask("POST", "/api/search", body, content_type="text/plain")[0] == 415
    assert client.ask("POST", "/api/search", body)[0] == 415
    headers = client.ask("GET", "/api/about")[1]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{", 400, "no JSON"),
        ("[]", 422, "Expected `object`"),
        ("{}", 422, "missing required field `query`"),
        ('{"query": 1}', 422, "$.query"),
        ('{"query": ""}', 422, "length >= 1"),
        ('{"query": "  "}', 422, "the query is empty"),
        ('{"query": "a", "top": 0}', 422, "$.top"),
        ('{"query": "a", "said": 2}', 422, "$.said"),
        ('{"query": "a", "other": 2}', 422, "unknown field `other`"),
        (json.dumps({"query": "red " * 30}), 422, "shorten it"),
        ('"' + "a" * 300_000 + '"', 413, "longer than"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(client, body, status, said):
    answer = client.ask("POST", "/api/search", body, content_type="application/json")
    assert answer[0] == status
    assert said in json.loads(answer[2])["error"]


def test_counts_are_there_for_prometheus(client):
    client.search(QUERY)
    text = client.ask("GET", "/metrics")[2].decode()
    assert 'hero_requests_total{route="/api/search",status="200"}' in text
    assert "hero_index_clips" in text
    assert client.get("/api/health")["status"] == "ok"


def test_every_route_is_described(client):
    described = client.get("/openapi.json")["paths"]
    assert {*described} >= {"/api/search", "/api/similar", "/film", "/api/add", "/metrics"}
    for path, operations in described.items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)


def events(client, number):
    """Returns the last event of an addition."""
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    connection.request("GET", f"/api/events?number={number}")
    text = connection.getresponse().read().decode()
    connection.close()
    *_, last = text.strip().split("\n\n")
    name, data = last.split("\n")
    assert name == "event: end"
    return json.loads(data.removeprefix("data: "))


@pytest.fixture
def own(library, tmp_path):
    """A server of a copy of the films, which may be changed."""
    shutil.copytree(library[0], tmp_path / "films")
    shutil.copytree(library[1], tmp_path / "index")
    with serving.serving(tmp_path / "films", tmp_path / "index") as client:
        yield client, tmp_path


def test_films_come_and_go_while_it_runs(own, tmp_path):
    client, here = own
    new = tmp_path / "new.mp4"
    film_samples.write_film(new, 7, seconds=4, codec="libx264")
    upload = client.ask(
        "POST",
        "/api/upload?name=new.mp4",
        new.read_bytes(),
        content_type="application/octet-stream",
    )
    assert json.loads(upload[2]) == {"path": "new.mp4"}
    status, reply = client.post("/api/add", path="new.mp4")
    assert status == 200
    outcome = events(client, reply["number"])
    assert (outcome["added"], outcome["replaced"], outcome["unchanged"]) == (1, 0, 0)
    filters = {"videos": ["new"]}
    assert {moment["video_id"] for moment in client.search(QUERY, filters=filters)} == {"new"}
    assert client.ask("GET", "/film?id=new")[2] == new.read_bytes()
    assert client.ask("GET", "/api/events?number=9")[0] == 404
    # Another program changes the index.
    with Writer(here / "index") as writer:
        writer.delete(["new"])
    status, reply = client.post("/api/search", query=QUERY, filters=filters)
    assert (status, "do not include 'new'" in reply["error"]) == (422, True)
    assert client.ask("GET", "/film?id=new")[0] == 404


def test_an_index_that_breaks_is_told_and_the_last_one_is_searched(own):
    client, here = own
    manifest = here / "index" / "index.json"
    whole = manifest.read_bytes()
    before = client.search(QUERY)
    manifest.write_bytes(whole[:-9])
    assert client.search(QUERY) == before
    status, _, content = client.ask("GET", "/api/health")
    assert status == 503
    assert "index.json" in json.loads(content)["error"]
    manifest.write_bytes(whole)
    assert client.search(QUERY) == before
    assert client.get("/api/health")["status"] == "ok"


@pytest.mark.parametrize(
    ("bounds", "status"), [({"most_waiting": 0}, 503), ({"deadline": 1e-6}, 504)]
)
def test_a_server_that_cannot_keep_up_says_so(library, bounds, status):
    changed = dataclasses.replace(serving.BOUNDS, **bounds)
    with serving.serving(*library, bounds=changed) as client:
        body = json.dumps({"query": QUERY})
        answer = client.ask("POST", "/api/search", body, content_type="application/json")
        assert answer[0] == status
        assert "try again" in json.loads(answer[2])["error"]
        assert (answer[1]["retry-after"] == "1") == (status == 503)
        assert client.get("/api/health")["status"] == "ok"


def test_an_upload_that_breaks_off_leaves_nothing(own):
    client, here = own
    before = sorted(os.listdir(here / "films"))
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(
            b"POST /api/upload?name=half.mp4 HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            b"content-type: application/octet-stream\r\ncontent-length: 1000\r\n\r\nhalf"
        )
    client.search(QUERY)
    for _ in range(100):
        if sorted(os.listdir(here / "films")) == before:
            break
        client.get("/api/health")
    assert sorted(os.listdir(here / "films")) == before
