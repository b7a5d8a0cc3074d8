"""TrustedHostMiddleware: the hosts in the list, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from dualroute.middleware.trustedhost import TrustedHostMiddleware
from tests.conftest import Serve
from tests.middleware_helper import accepted, denied, handshake, site


@pytest.mark.parametrize(
    ("allowed", "host", "passes"),
    [
        (None, "anything.example", True),
        (["*"], "anything.example", True),
        (["example.org"], "example.org", True),
        (["example.org"], "EXAMPLE.org:8000", True),
        (["Example.ORG"], "example.org", True),
        (["example.org"], "examplexorg", False),
        (["example.org"], "example.org.evil.example", False),
        (["example.org"], "a.example.org", False),
        (["*.example.org"], "a.b.example.org", True),
        (["*.example.org"], "example.org", False),
        (["*.example.org"], "evilexample.org", False),
        (["[::1]"], "[::1]:80", True),
        (["[::1]"], "[::2]", False),
        ([], "example.org", False),
    ],
)
def test_hosts(serve: Serve, allowed: Any, host: str, passes: bool) -> None:
    client = serve(site([TrustedHostMiddleware(allowed)]))
    for path in ("/", "/async", "/none", "/flask/text"):
        answer = client.get(path, headers={"host": host})
        if passes:
            assert answer.status_code == (404 if path == "/none" else 200)
        else:
            assert (answer.status_code, answer.text) == (400, "Invalid host header")


def test_the_name_with_www_is_redirected_to(serve: Serve) -> None:
    client = serve(site([TrustedHostMiddleware(["www.example.org"])]))
    answer = client.get("/x?a=1", headers={"host": "example.org:81"})
    assert (answer.status_code, answer.headers["location"]) == (307, "http://www.example.org:81/x?a=1")
    client = serve(site([TrustedHostMiddleware(["www.example.org"], www_redirect=False)]))
    assert client.get("/", headers={"host": "example.org"}).status_code == 400


def test_a_websocket_handshake_is_refused_likewise() -> None:
    app = site([TrustedHostMiddleware(["example.org"])])
    assert accepted(handshake(app, headers={"host": "example.org"}))
    assert denied(handshake(app, headers={"host": "evil.example"}))[0] == 400


@pytest.mark.parametrize(
    "entry", ["ex*mple.org", "*example.org", "*.", "", "example.org:80", "http://example.org", "::1"]
)
def test_what_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        TrustedHostMiddleware([entry])


def test_a_list_is_wanted() -> None:
    with pytest.raises(TypeError, match=r"write \['example.org'\]"):
        TrustedHostMiddleware("example.org")


def test_a_host_that_is_refused_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dualroute")
    client = serve(site([TrustedHostMiddleware(["example.org"])]))
    caplog.clear()
    assert client.get("/", headers={"host": "Examplexorg:80"}).status_code == 400
    said = [record.getMessage() for record in caplog.records if record.name == "dualroute"]
    assert "refused: the host examplexorg is none of the trusted hosts" in said
