"""Targets: path templates, matching, redirects, and what the command line is given."""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from dualroute import DualRoute, Mount, PlainTextResponse, RedirectResponse, Route, SyncRequest
from dualroute.exceptions import HTTPException
from dualroute.explaining import explain
from dualroute.matching import HTTP, Miss
from dualroute.paths import Template, compile_path
from dualroute.probe import CLIError, parse_target
from dualroute.routing import Router
from dualroute.targets import Target, target_from_environ, target_from_scope
from tests.benchmarks.matching_peers import look_up
from tests.fuzz.given import environ_of, scope_of
from tests.fuzz.registry import Choices, target

_UUID = uuid.UUID(int=7)
_VALUES = {"str": "x", "int": 3, "float": 1.5, "uuid": _UUID, "path": "a/b"}


def _endpoint(request: Any) -> PlainTextResponse:
    return PlainTextResponse("found")


def _template(data: bytes) -> Template | None:
    text = data.decode("utf-8", "replace")
    try:
        return Template(text)
    except ValueError as error:
        assert repr(text) in str(error), "the error quotes the template"
        return None


@target(read=_template, grows=((b"/", b"{", b"}"), (b"/{", b"a", b"}"), (b"/", b"{a", b"")))
def template(data: bytes) -> None:
    """A template is refused, or its paths lead to its route with the values that they were made of."""
    made = _template(data)
    text = data.decode("utf-8", "replace")
    for options in ({"prefix": True}, {"host": True}):
        try:
            Template(text, **options)
        except ValueError:
            pass
    if made is None:
        return
    regex, _, convertors = compile_path(text)
    names = {kind.__class__: name for name, kind in _kinds().items()}
    values = {name: _VALUES[names[type(convertor)]] for name, convertor in convertors.items()}
    path = made.fill(values)
    assert regex.match(path) is not None
    found = look_up(Router([Route(text, _endpoint)]), "GET", path)
    assert isinstance(found, tuple), "a path that was made of the template is found"
    if "{" not in text:
        assert path == text
    assert set(found[1] or {}) == set(values)


@cache
def _kinds() -> dict[str, Any]:
    from dualroute.convertors import CONVERTOR_TYPES

    return {name: CONVERTOR_TYPES[name] for name in _VALUES}


_PIECES = (
    *("a", "b", "", "{p}", "{q:int}", "{r:float}", "{s:uuid}", "x{t}", "{u}.json", "{v:int}-{w:int}", "é", "{x}{y}"),
    "{z:path}",
)
_ASKED = ("a", "b", "", "1", "1.5", str(_UUID), "x1", "q.json", "1-2", "é", "x1.json", "9" * 5000, "%", "\n")


@target()
def matching(data: bytes) -> None:
    """The first template in declared order that takes a path is the one that is found, whatever the others are."""
    choices = Choices(data)
    templates: list[str] = []
    for _ in range(1 + choices.number(6)):
        pieces = [choices.one_of(_PIECES) for _ in range(1 + choices.number(4))]
        text = "/" + "/".join(dict.fromkeys(pieces))  # a parameter comes once
        if text.count("path}") < 2 and text not in templates:
            templates.append(text)
    path = "/" + "/".join(choices.one_of(_ASKED) for _ in range(1 + choices.number(4)))
    if choices.number(3) == 0:
        path = "/" + choices.rest.decode("utf-8", "replace").replace("\0", "")
    found = look_up(Router([Route(text, _endpoint) for text in templates]), "GET", path)
    expected = _first(templates, path)
    if expected is None:
        assert isinstance(found, Miss)
    else:
        assert isinstance(found, tuple)
        assert (found[0][-1].path, found[1] or {}) == expected


def _first(templates: list[str], path: str) -> tuple[str, dict[str, Any]] | None:
    for text in templates:
        regex, _, convertors = compile_path(text)
        match = regex.match(path)
        if match is None:
            continue
        try:
            return text, {name: convertors[name].convert(match[name]) for name in convertors}
        except ValueError:
            continue
    return None


_TABLE = Router(
    [Route("/" + "/".join(piece for piece in _PIECES[first : first + 3]), _endpoint) for first in range(11)]
)
_SITE = DualRoute(
    [Route("/a", _endpoint), Route("/b/", _endpoint), Mount("/m", routes=[Route("/{r:path}/", _endpoint)])]
)


@target(
    read=lambda data: look_up(_TABLE, "GET", data.decode("latin-1")), grows=((b"/", b"9", b""), (b"/a", b"/a", b""))
)
def redirect(data: bytes) -> None:
    """A redirect for a slash too many or too few leads to the same host, and to a path that is found."""
    choices = Choices(data)
    prefix = choices.one_of((b"", b"/m", b"//m", b"/m//"))
    raw = prefix + choices.rest.partition(b"?")[0]
    query = choices.rest.partition(b"?")[2]
    lines = [(b"host", b"site.example")]
    leads: list[Any] = []
    ways: list[tuple[Any, Any]] = [
        (target_from_scope, scope_of(raw, lines, query)),
        (target_from_environ, environ_of(raw, lines, query)),
    ]
    for read, given in ways:
        try:
            leads.append(_SITE.dispatcher.decide(HTTP, read(given))[1])
        except HTTPException as error:
            assert error.status_code == 400
            leads.append(None)
    assert leads[0] == leads[1]
    if leads[0] is not None:
        led = urlsplit(urljoin("https://site.example/", leads[0]))
        assert (led.scheme, led.netloc) == ("https", "site.example")
        assert leads[0].isascii()
        if "/." not in leads[0]:  # which a client takes for steps, and leaves out
            assert _SITE.dispatcher.decide(HTTP, _target_of(led.path))[0] is not None


def _target_of(path: str) -> Target:
    return target_from_scope(scope_of(path.encode(), [(b"host", b"site.example")]))


@target(read=lambda data: _redirected(data.decode("utf-8", "replace")))
def location(data: bytes) -> None:
    """A redirect is refused, or goes out as one line of what may stand in a URL."""
    text = data.decode("utf-8", "replace")
    sent = _redirected(text)
    if sent is not None:
        assert sent.isascii()
        assert sent.isprintable()
        assert " " not in sent


def _redirected(text: str) -> str | None:
    try:
        return RedirectResponse(text).headers["location"]
    except ValueError:
        return None


# The command line


@cache
def _folder() -> str:
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _folders.append(folder)  # removed at the end of the process
    home = Path(folder.name)
    (home / "package").mkdir()
    (home / "folder").mkdir()
    for name in ("app.py", "package/__init__.py", "package/app.py", "json.py", "a-b.py", "notes.txt", "a,b.py"):
        (home / name).write_text("")
    return folder.name


_folders: list[Any] = []


@target()
def command_target(data: bytes) -> None:
    """What is to be served is found by its name, or the command says in a line why not."""
    text = os.fsdecode(data.replace(b"\0", b""))
    with chdir(_folder()):
        try:
            found = parse_target(text)
        except CLIError as error:
            assert str(error).startswith(text.rpartition(":")[0] or "") or text in str(error)
            return
    assert all(part.isidentifier() for part in found.module.split("."))
    assert not found.attribute or found.attribute.isidentifier()
    if found.file:
        assert os.path.isfile(found.file)


@target()
def command_url(data: bytes) -> None:
    """``dualroute match`` says where any URL leads, and says what the dispatcher does."""
    text = os.fsdecode(data.replace(b"\0", b""))
    said = explain(_SITE, "GET", text)
    assert said.outcome in ("match", "redirect", "404", "400", "default", "405")
    # A URL has no line breaks and tabs in it: urlsplit passes over them.
    if text.startswith("/") and said.outcome != "400" and not set(text) & set("\t\r\n"):
        path = text.partition("?")[0].partition("#")[0]
        request = SyncRequest(scope_of(os.fsencode(path), [(b"host", b"localhost")]))
        found = _SITE.dispatcher.decide(HTTP, request.target)
        assert (said.outcome == "match") == (found[0] is not None)
