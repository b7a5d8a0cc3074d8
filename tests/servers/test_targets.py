"""Request targets and Hosts that are malformed or unusual: what dualroute answers, if the server lets them pass."""

from __future__ import annotations

import json

import pytest

from tests.servers.launching import Running
from tests.servers.wire import Answer, exchange


def get(server: Running, target: str, *headers: str, version: str = "1.1") -> Answer:
    lines = [f"GET {target} HTTP/{version}", *headers, "Connection: close"]
    return exchange(server, "\r\n".join([*lines, "", ""]).encode("latin-1"))


@pytest.mark.parametrize("path", ["/%ff", "/rest/%ff", "/gr%f6%dfe/x", "/rest/%ed%a0%80", "/rest/%c3"])
def test_a_path_that_is_no_utf_8_is_400(server: Running, path: str) -> None:
    answer = get(server, path, "Host: h")
    assert (answer.status, answer.text) == (400, "Bad Request: the path is not UTF-8")


def test_a_replacement_character_that_was_sent_is_text(server: Running) -> None:
    answer = get(server, "/rest/%EF%BF%BD", "Host: h")
    assert (answer.status, json.loads(answer.body)["rest"]) == (200, "\ufffd")


@pytest.mark.parametrize("path", ["/%00", "/rest/%00", "/rest/a%00b", "/with-slash%00/"])
def test_a_nul_in_a_path_is_404(server: Running, path: str) -> None:
    assert get(server, path, "Host: h").status == 404


def test_bytes_that_should_have_been_escaped_are_refused_or_read_as_utf_8(server: Running) -> None:
    assert get(server, "/rest/\xff", "Host: h").status == 400
    answer = get(server, "/rest/ü".encode().decode("latin-1"), "Host: h")
    assert answer.status == 400 or json.loads(answer.body)["rest"] == "ü"


@pytest.mark.parametrize(
    "host", ["a/?x", "a b", "a@b", "a:b", "a#", "a\\b", "[::1", "a%2fb", "a,b", "<script>"], ids=repr
)
def test_a_host_that_is_none_is_400(server: Running, host: str) -> None:
    assert get(server, "/about", f"Host: {host}").status == 400


def test_two_hosts_are_400(server: Running) -> None:
    assert get(server, "/about", "Host: a", "Host: b").status == 400
    assert get(server, "/about", "Host: a", "Host: a").status == 400


@pytest.mark.parametrize("header", [(), ("Host:",)], ids=["none", "empty"])
def test_without_a_host_the_servers_own_name_stands_in(server: Running, header: tuple[str, ...]) -> None:
    answer = get(server, "/about", *header, version="1.0")
    assert answer.status == 200
    assert json.loads(answer.body)["url"] == f"http://{server.server.name_without_host}:{server.port}/about"


@pytest.mark.parametrize("target", ["@host", "@host/about", "host/about", "*"])
def test_a_target_that_is_no_path_is_400(server: Running, target: str) -> None:
    assert get(server, target, "Host: h").status == 400


def test_an_absolute_target_is_answered_by_its_path(server: Running) -> None:
    answer = get(server, "http://other.example:81/rest/a%20b?q=1", "Host: here.example")
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "rest": "a b",
        "path": "/rest/a b",
        "url": "http://here.example/rest/a%20b?q=1",
    }


def test_an_absolute_target_without_a_path_is_refused(server: Running) -> None:
    answer = get(server, "http://other.example", "Host: here.example")
    assert answer.status == (200 if server.server.root_for_no_path else 400)


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/", "//with-slash", "//with-slash/..", "/\\evil/"])
def test_no_redirect_leads_off_site(server: Running, path: str) -> None:
    answer = get(server, path, "Host: h")
    if server.server.leading_slashes or answer.status != 307:
        assert answer.status in (400, 404)
    else:
        assert (answer.header("location") or "").startswith("/with-slash/")


def test_slashes_and_dots_in_a_path_are_as_sent(server: Running) -> None:
    for path in ("a//b", "a/../b", "a/./b", "a/b//", "..;/b"):
        answer = get(server, f"/rest/{path}", "Host: h")
        assert (answer.status, json.loads(answer.body)["rest"]) == (200, path)
    assert json.loads(get(server, "/rest/a%2fb", "Host: h").body)["rest"] == "a/b"
