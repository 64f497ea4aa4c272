"""No header, range, parameter or JSON makes a fault."""

import http.client
import socket

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hero_jax.search.server.media import Unsatisfiable, byte_range

QUICK = hypothesis.settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[*hypothesis.HealthCheck],
)
CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
# What a client may be told of a server that is whole.
STATUSES = {200, 206, 304, 400, 404, 405, 413, 415, 416, 421, 422, 431}


@pytest.mark.parametrize("mode", schemathesis.GenerationMode, ids=lambda mode: mode.value)
def test_requests_made_of_the_description_are_answered_as_it_says(client, mode):
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json"))
    operations = [one.ok() for one in schema.get_all_operations()]
    strategy = st.one_of(one.as_strategy(generation_mode=mode) for one in operations)

    @QUICK
    @hypothesis.given(strategy)
    def check(case):
        response = case.call(base_url=client.address)
        assert response.status_code in STATUSES, response.text
        if mode.is_positive:
            case.validate_response(response, checks=CHECKS)

    check()


@QUICK
@hypothesis.given(st.text(), st.integers(0, 1 << 70))
@hypothesis.example("bytes=0-0", 0)
@hypothesis.example("bytes=-" + "9" * 5000, 10)
@hypothesis.example("bytes=" + "1" * 18 + "-", 10)
def test_any_range_is_a_part_of_the_file_or_none(text, size):
    check_range(text, size)


@QUICK
@hypothesis.given(
    st.builds("{}={}-{}".format, st.sampled_from(["bytes", "Bytes"]), *[st.integers(-2, 99)] * 2),
    st.integers(0, 50),
)
def test_any_range_of_bytes_is_a_part_of_the_file_or_none(text, size):
    check_range(text, size)


def check_range(text, size):
    try:
        part = byte_range(text, size)
    except Unsatisfiable:
        return
    if part:
        first, count = part
        assert 0 <= first < first + count <= size


def test_any_header_and_path_is_answered(client):
    @QUICK
    @hypothesis.given(
        st.sampled_from(["range", "if-range", "if-none-match", "host", "accept", "content-length"]),
        st.binary(max_size=40),
        st.sampled_from(["/film?id=one", "/api/about", "/page.css", "/thumbnail?id=one&second=1"]),
    )
    def check(name, value, path):
        assert answer(client, path.encode(), name.encode() + b": " + value) in STATUSES

    @QUICK
    @hypothesis.given(st.binary(max_size=40))
    def check_path(path):
        assert answer(client, b"/" + path, b"accept: */*") in STATUSES

    check()
    check_path()


def answer(client, path, header):
    """Returns the status of an answer to a request that is written as it is, 400 for none."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        lines = [b"GET " + path + b" HTTP/1.1", b"host: 127.0.0.1", b"connection: close", header]
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        # A request that has not ended is not answered.
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        try:
            response.begin()
        except (http.client.HTTPException, ConnectionError):
            return 400
        return response.status
