"""Targets: sessions, which a client keeps and must not be able to change."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import Any

from dualroute import Response
from dualroute.middleware.sessions import Session, SessionMiddleware
from tests.fuzz.registry import Choices, target

KEPT = {"user": 7, "role": "guest"}


@cache
def _middleware() -> SessionMiddleware:
    return SessionMiddleware(["new key", "old key"])


@cache
def _cookie(key: str) -> str:
    response = Response()
    SessionMiddleware(key)._save('{"user": 7, "role": "guest"}', response)
    return response.headers["set-cookie"].partition(";")[0].partition("=")[2]


def _opened(cookie: str) -> Session:
    return _middleware()._open(cookie)[0]


@target(read=lambda data: _opened(data.decode("utf-8", "replace")))
def session_cookie(data: bytes) -> None:
    """A cookie that we have not signed is an empty session; so is one of ours that was changed anywhere."""
    text = data.decode("utf-8", "replace")
    assert _opened(text) == {} or text in (_cookie("new key"), _cookie("old key"))
    choices = Choices(data)
    cookie = _cookie(choices.one_of(("new key", "old key")))
    assert _opened(cookie) == KEPT
    at, signed = choices.number(256) % len(cookie), choices.rest.decode("latin-1")[:8]
    changed = cookie[:at] + signed + cookie[at + len(signed) :]
    # The last digit of a signature has bits that do not count, and two of its digits may be written in two ways.
    changed = changed.replace("/", "_").replace("+", "-")
    if changed != cookie and len(changed) == len(cookie) and at + len(signed) < len(cookie):
        assert _opened(changed) == {}
    assert _opened(_cookie("new key").replace(".", "", 1)) == {}


@target(read=lambda data: _opened(_signed(b64encode(data))))
def session_content(data: bytes) -> None:
    """What was signed, by another program with our key perhaps, is a session or an empty one."""
    for content in (data, b64encode(data)):
        opened: Any = _opened(_signed(content))
        assert isinstance(opened, Session)


def _signed(content: bytes) -> str:
    signed: bytes = _middleware()._signer.sign(content)
    return signed.decode("latin-1")
