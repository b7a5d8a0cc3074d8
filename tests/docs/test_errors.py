"""The page about errors at set-up: each message is what the code says, and the code says nothing that is not there.

What Python snippets raise is seen by `Page.run`; here are the commands, and the search for errors that the page lacks.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import dualroute
import dualroute_asgi
import dualroute_wsgi
from dualroute.cli import main
from tests.docs.pages import FOLDER, Block, Page, one_line, without
from tests.servers.launching import eventually, free_port

PAGE = Page("reference/errors.md")

HOME = Path(dualroute.__file__).parent
SOURCES = (HOME, Path(dualroute_asgi.__file__).parent, Path(dualroute_wsgi.__file__).parent)


def test_snippets_raise_what_the_page_says() -> None:
    raising = [block for block in PAGE.of("python") if PAGE.shown_after(block) is not None]
    assert len(raising) > 150
    PAGE.run()


# Commands


@dataclass(frozen=True)
class Command:
    """A command of the page: what it prints, and what is in `requests.jsonl` then."""

    block: Block
    shown: str
    requests: str | None

    @property
    def line(self) -> str:
        return self.block.text.splitlines()[-1]


def commands() -> Iterator[Command]:
    requests = None
    for block, after in zip(PAGE.blocks, PAGE.blocks[1:], strict=False):
        if block.language == "json":
            requests = block.text
        elif block.language == "sh":
            assert after.language == "text", f"line {block.line}: nothing is shown"
            yield Command(block, after.text, requests)
            requests = None


COMMANDS = list(commands())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page."""
    PAGE.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def told(output: str, site: Path) -> str:
    """Return what was printed, as in the folder of the page."""
    return one_line(output.replace(str(site.resolve()), FOLDER).replace(str(site), FOLDER))


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one.line.startswith("dualroute ")], ids=lambda one: one.block.text.strip()
)
def test_the_command_says_what_is_wrong(
    command: Command, site: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("notes.txt", "my-app.py", "json.py", "a,b/main.py", "site/__main__.py"):
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).touch()
    if command.requests is not None:
        (site / "requests.jsonl").write_text(command.requests, encoding="utf-8")
    line, shown = command.line, command.shown
    with socket.socket() as taken, without(command.block.without):
        if line.endswith("--port 8000"):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            line, shown = line.replace("8000", port), shown.replace("8000", port)
        with monkeypatch.context() as context:
            if command.block.text.startswith("# on Windows"):
                context.setattr(os, "name", "nt")
            try:
                code = main(shlex.split(line)[1:])
            except SystemExit as error:  # by which argparse ends
                code = int(error.code or 0)
    assert code == 2
    # A traceback of the user's code may stand above it.
    assert told(capfd.readouterr().err, site).endswith(one_line(shown))


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if not one.line.startswith("dualroute ")], ids=lambda one: one.line
)
def test_servers_and_pytest_say_what_is_wrong(command: Command, site: Path) -> None:
    program, *arguments = shlex.split(command.line)
    if program == "gunicorn":
        arguments = ["--bind", f"127.0.0.1:{free_port()}", *arguments]
    elif program != "pytest":
        arguments += ["--port", str(free_port())]
    output = site / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            env={**os.environ, "PYTHONPATH": str(site), "PYTHONUNBUFFERED": "1", "COLUMNS": "500"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            eventually(
                lambda: one_line(command.shown) in told(output.read_text(errors="replace"), site),
                f"{command.line} says {command.shown!r}",
                60,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{output.read_text(errors='replace')}") from None
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers as well
            process.wait()


# What the page lacks

ANSWERS = {
    "AppAnswered": "caught where an exception handler may answer",
    "AppBroken": "a mounted app has broken its protocol",
    "BodyFailed": "a body has failed half-way",
    "BodyTooLarge": "an answer to a client",
    "ConnectionResetError": "a client has left",
    "GivenUp": "what took too long is given up",
    "HTTPException": "an answer to a client",
    "HTTPOutputError": "a delegate has written what can't be sent",
    "InputCutShort": "a client has left",
    "InputTooLarge": "an answer to a client",
    "MalformedBody": "an answer to a client",
    "MalformedMessage": "a websocket's peer has sent something else",
    "MalformedResponse": "what a function has written to its request is no response",
    "MultiPartException": "an answer to a client",
    "NoSample": "caught where it is asked for",
    "ProcessEnded": "a server has ended by itself",
    "ProtocolViolation": "an app has broken its protocol, as a test client sees it",
    "RemoteProtocolError": "an app has cut its response short",
    "WebSocketDisconnect": "a websocket's peer has left",
    "WebSocketDisconnected": "a websocket is used after its end",
    "WebSocketException": "an answer to a websocket's peer",
    "_malformed": "makes an answer to a client",
    "exceeded_by": "makes an answer to a client",
    "raised": "passes on what a function has raised",
    "with_traceback": "passes on what a WSGI app has raised",
}
"""Exceptions that are never about set-up, by their names."""

LATER = {
    "dualroute.background": "tasks are made by handlers",
    "dualroute.bodies": "bodies are read by handlers",
    "dualroute.connection": "is asked by handlers; the missing middleware is on the page",
    "dualroute.cookies": "cookies are set by handlers",
    "dualroute.datastructures": "headers and URLs are made by handlers",
    "dualroute.delegates": "delegates are told of requests",
    "dualroute.fileresponses": "responses are made by handlers",
    "dualroute.negotiation": "is asked by handlers",
    "dualroute.outgoing": "delegates write responses",
    "dualroute.requests": "is read by handlers",
    "dualroute.responses": "responses are made by handlers",
    "dualroute.sse": "events are made by handlers",
    "dualroute.targets": "is about what a client has asked for",
    "dualroute.testclient.life": "is about an app that runs",
    "dualroute.testclient.sessions": "is about a websocket that is open",
    "dualroute.websockets": "is used by handlers",
    "dualroute.written": "functions write to their requests",
    "dualroute_asgi.body": "bodies are read by handlers; the `def` on the loop is on the page",
    "dualroute_asgi.delegates": "delegates write responses",
    "dualroute_asgi.sockets": "is used by handlers",
    "dualroute_wsgi.body": "bodies are read by handlers",
    "dualroute_wsgi.desk": "is about a request that is over",
    "dualroute_wsgi.parking": "is what asyncio's own loop raises",
}
"""Modules in which nothing is about set-up."""

NOT_SETUP = {
    "dualroute.cli.playing:Players._exchange.send": "a client has left",
    "dualroute.cli.requests:Plan._given": "caught where it is asked for",
    "dualroute.cli.requests:_from_line": "passes on what is wrong",
    "dualroute.cli.requests:read_requests": "passes on what is wrong",
    "dualroute.convertors:FloatConvertor.convert": "is about what a client has asked for",
    "dualroute.faces:Face.routes": "is for the code, and no name that users have",
    "dualroute.middleware:_further_in": "stands in for an app that nobody calls",
    "dualroute.probe:probe": "passes on what is wrong",
    "dualroute.rules:RuleRouter.get_target_delegate": "is called for a request",
    "dualroute.schemas:BaseSchemaGenerator.OpenAPIResponse": "is about a request made by hand",
    "dualroute.steps:HandlerDelegate._by_hand": "is called for a request",
    "dualroute.steps:handler_delegate": "is called for a request",
    "dualroute_asgi.adapter:ASGIAdapter._serve_other": "is about a server that offers something else",
    "dualroute_wsgi.adapter:WSGIAdapter.get_ready": "says again what has been said",
    "dualroute_wsgi.loop:LoopVisit.outcome": "is about a handler that has cancelled itself",
    "dualroute_wsgi.loop:WorkerLoop.end": "passes on what has failed in a shutdown",
    "dualroute_wsgi.loop:WorkerLoop.serving": "is about an app that calls itself",
}
"""Functions, by module, that raise something else too, or nothing that is about set-up."""

BY_HAND = {
    "dualroute.endpoints:_EndpointClass.__init__": ["a server calls it with (environ, start_response)"],
    "dualroute.routes:reverse": ["did you mean 'item'?", "negative integers are not supported: -1"],
    "dualroute.serving:Servable.__call__": ["a server calls it with (environ, start_response)"],
    "dualroute.serving:Servable.__rsgi_init__": ["pass --interface asgi or --interface wsgi"],
    "dualroute_wsgi.loop:WorkerLoop.__init__": ["`async def` can't be served by gevent in this process"],
}
"""Errors whose text is made elsewhere: by where they are raised, what the page has of them."""


@dataclass(frozen=True)
class Site:
    """A place in the code where an exception is raised."""

    where: str
    kind: str
    line: int
    texts: tuple[re.Pattern[str], ...]

    def __str__(self) -> str:
        return f"{self.where}, line {self.line}: {self.kind} {' '.join(text.pattern for text in self.texts)}"


def texts_of(node: ast.AST) -> Iterator[re.Pattern[str]]:
    """Yield an expression for each text in an expression of Python; what is filled in stands for anything."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield re.compile(re.escape(one_line(node.value)))
    elif isinstance(node, ast.JoinedStr):
        parts = [
            re.escape(re.sub(r"\s+", " ", str(part.value))) if isinstance(part, ast.Constant) else ".*?"
            for part in node.values
        ]
        yield re.compile("".join(parts).strip())
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts_of(child)


def sites() -> Iterator[Site]:
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source.parent).with_suffix("").parts
            module = ".".join(parts).removesuffix(".__init__")
            yield from sites_in(ast.parse(path.read_text(encoding="utf-8")), module, ())


def sites_in(node: ast.AST, module: str, inside: tuple[str, ...]) -> Iterator[Site]:
    for child in ast.iter_child_nodes(node):
        within = inside
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            within = (*inside, child.name)
        # Without a message it is passed on, or is for Python itself, or stands where a subclass has a method.
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call) and (child.exc.args or child.exc.keywords):
            function = child.exc.func
            kind = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            texts = tuple(text for argument in child.exc.args for text in texts_of(argument))
            if not (kind == "AttributeError" and "__getattr__" in inside):
                yield Site(f"{module}:{'.'.join(inside)}", kind, child.lineno, texts)
        yield from sites_in(child, module, within)


SITES = [site for site in sites() if site.kind not in ANSWERS]


def module_of(site: Site) -> str:
    return site.where.partition(":")[0]


def is_told_by_its_text(text: re.Pattern[str]) -> bool:
    """Tell whether an expression has enough text of its own to be known by."""
    return len(re.sub(r"\\(.)", r"\1", text.pattern.replace(".*?", "")).strip()) >= 10


def test_each_error_at_setup_is_on_the_page() -> None:
    shown = [one_line(block.text) for block in PAGE.of("text")]
    missing = []
    for site in SITES:
        if module_of(site) in LATER:
            continue
        known = [text for text in site.texts if is_told_by_its_text(text)]
        if known and all(any(text.search(one) for one in shown) for text in known):
            continue
        by_hand = BY_HAND.get(site.where)
        if by_hand is not None and all(any(text in one for one in shown) for text in by_hand):
            continue
        if site.where not in NOT_SETUP:
            missing.append(str(site))
    assert not missing, "\n".join(["raised at set-up, and not on the page:", *missing])


def test_what_is_left_out_is_there() -> None:
    modules, places = {module_of(site) for site in SITES}, {site.where for site in SITES}
    assert set(LATER) - modules == set()
    assert (set(NOT_SETUP) | set(BY_HAND)) - places == set()
    assert set(ANSWERS) - {site.kind for site in sites()} == set()
