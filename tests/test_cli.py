"""The command, as a user runs it: real processes, found again in /proc when they should be gone.

A start mostly waits, so where a test has several cases that differ in little it starts them all at once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from websockets.sync.client import connect

import dualroute
from dualroute import cli
from dualroute.cli import serve
from dualroute.probe import parse_target, probe
from dualroute.supervisor import Family

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes left over in /proc"),
    pytest.mark.timeout(180),
]

PATIENCE = 60.0  # seconds: a bound for what hangs, not what anything is expected to take

HELLO = """
import os
from dualroute import DualRoute, Mount, Route, WebSocketRoute
from dualroute.responses import PlainTextResponse

def hello(request):
    return PlainTextResponse("hello from " + str(os.getpid()))

async def user(request):
    return PlainTextResponse("user")

async def echo(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)

app = DualRoute(routes=[
    Route("/", hello),
    Mount("/users", name="users", routes=[Route("/{id:int}", user, methods=["GET", "POST"], name="one")]),
    WebSocketRoute("/echo", echo),
])
"""


class Command:
    """A `dualroute run` in a session of its own, and what it has printed so far."""

    def __init__(self, *arguments: str, cwd: Path, before: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "dualroute", "run", *arguments],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the output holds the pattern."""

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None or re.search(pattern, self.output, re.M), self.output
            return re.search(pattern, self.output, re.M)

        match = eventually(found)
        assert match is not None
        return match

    def url(self, protocol: str) -> str:
        return self.wait_for(rf"^{protocol}  (http://\S+)")[1]

    def wait_until_served(self) -> None:
        self.wait_for(r"^PATH +METHODS")

    def wait(self) -> int:
        """Return the exit code, once there is one and nothing else is alive."""
        code = self.process.wait(PATIENCE)
        assert self.alive() == {}, self.output
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> int:
        self.process.terminate()
        return self.wait()

    def alive(self) -> dict[int, str]:
        """Return the command line of each process of the session that is alive, by process number."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # gone in the meantime
                state, _parent, _group, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state not in "ZX":
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def wait_until_gone(self) -> None:
        """Wait until nothing is alive, without an exit code to wait for."""
        eventually(lambda: not self.alive())

    def server(self, program: str) -> int:
        """Return the process number of a server: the first of those that run it."""
        return min(pid for pid, line in self.alive().items() if f"-m {program} " in line)

    def end(self) -> None:
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


Run = Callable[..., Command]
T = TypeVar("T")


@pytest.fixture(autouse=True)
def not_under_nohup() -> Iterator[None]:
    """Let the commands meet SIGHUP as from a terminal, even where the tests run under nohup, which has it ignored."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)  # a handler is not inherited, to be ignored is
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start `dualroute run` in a directory with a hello.py."""
    (tmp_path / "hello.py").write_text(HELLO)
    started: list[Command] = []

    def start(*arguments: str, before: Sequence[str] = ()) -> Command:
        started.append(Command(*arguments, cwd=tmp_path, before=before))
        return started[-1]

    yield start
    for command in started:
        command.end()


def eventually(attempt: Callable[[], T]) -> T:
    """Return the first true outcome of `attempt`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if outcome := attempt():
            return outcome
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} seconds: {attempt}")


def get(url: str) -> str:
    """Return the text at the address, or "" where nobody answers (a server that reloads has such moments)."""
    try:
        # A connection for each request: with several workers each may then go to another.
        return httpx.get(url, timeout=PATIENCE, trust_env=False).text
    except httpx.TransportError:
        return ""


ports_given: set[int] = set()


_ports = itertools.count(20_000 + 2_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")), 2)


def free_port() -> int:
    """Return a port that is free, as is the next one: none that the system hands out, and none of another worker's."""
    while True:
        port = next(_ports)
        try:
            for number in (port, port + 1):
                socket.create_server(("127.0.0.1", number)).close()
        except OSError:
            continue
        return port


def test_serves_one_app_by_both_servers_until_a_signal(run: Run) -> None:
    cases = [(number, free_port()) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    started = [(number, port, run("hello.py", "--port", str(port))) for number, port in cases]
    for number, port, command in started:
        assert command.url("ASGI") == f"http://127.0.0.1:{port}"
        assert command.url("WSGI") == f"http://127.0.0.1:{port + 1}"
        for protocol in ("ASGI", "WSGI"):
            assert get(command.url(protocol)).startswith("hello from ")
            assert get(command.url(protocol) + "/users/7") == "user"
        command.process.send_signal(number)
    assert [(number, command.wait()) for number, _, command in started] == [(number, 0) for number, _ in cases]


def test_prints_the_route_table(run: Run) -> None:
    command = run("hello.py", "--port", "0")
    command.wait_until_served()
    command.wait_for(r"^/ +GET, HEAD +hello +hello\.hello$")
    command.wait_for(r"^/users/\* +mount +users$")
    command.wait_for(r"^  /\{id:int\} +GET, HEAD, POST +one +hello\.user$")
    command.wait_for(r"^/echo +websocket \(ASGI only\) +echo +hello\.echo$")
    assert command.stop() == 0


DEFAULTS = """
from dualroute import DualRoute, Mount, Route, Router

def home(request): ...
def lost(request): ...

archive = Router([Route("/{year:int}", home)], default=lost)
itself = Router()
itself.default = itself
app = DualRoute(
    [Mount("/shop", Router([Route("/", home)], default=DualRoute(fallback=lost))), Mount("/itself", itself)],
    fallback=archive,
)
"""


def test_the_route_table_ends_with_the_default(tmp_path: Path) -> None:
    (tmp_path / "defaults.py").write_text(DEFAULTS)
    with Family() as family:
        found = probe(family, parse_target(str(tmp_path / "defaults.py")))
    assert found["routes"] == [
        ["/shop/*", "mount", "", ""],
        ["  /", "GET, HEAD", "home", "defaults.home"],
        ["  *", "", "", "dualroute.applications.DualRoute"],
        ["    *", "", "", "defaults.lost"],
        ["/itself/*", "mount", "", ""],
        ["  *", "", "", ""],
        ["*", "", "", ""],
        ["  /{year:int}", "GET, HEAD", "home", "defaults.home"],
        ["  *", "", "", "defaults.lost"],
    ]


def printed_routes(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run `dualroute routes` in a folder, and return its exit code and what it printed."""
    line = [sys.executable, "-m", "dualroute", "routes", *arguments]
    ended = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_routes_takes_every_way_to_name_an_app(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    code, table = printed_routes(tmp_path, "hello.py")
    assert code == 0
    assert table.startswith("PATH ")
    for target in ("hello.py:app", "hello:app", "./hello.py"):
        assert printed_routes(tmp_path, target) == (0, table)
    none = "no legacy app stands behind these routes"
    assert printed_routes(tmp_path, "hello.py", "--legacy") == (0, f"{table}\n{none}\n")


def test_routes_of_what_has_none(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("from dualroute import DualRoute\napp = DualRoute()\nother = lambda scope: 0\n")
    assert printed_routes(tmp_path, "empty.py") == (0, "no routes\n")


def test_routes_imports_the_app_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        f"{HELLO}\nimport threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()"
    )
    assert printed_routes(tmp_path, "loud.py")[0] == 0
    (tmp_path / "loud.py").write_text("import os\nos._exit(0)")
    assert printed_routes(tmp_path, "loud.py") == (
        2,
        "dualroute: loud.py: importing it ended the process, which exited with code 0\n",
    )
    assert printed_routes(tmp_path, "quiet.py") == (2, "dualroute: quiet.py: no such file\n")


def test_ctrl_c_that_arrives_twice_at_once_is_one(run: Run) -> None:
    command = run("hello.py", "--port", "0")
    command.wait_until_served()
    command.process.send_signal(signal.SIGINT)  # from the terminal
    time.sleep(0.05)  # not to wait for anything: signals that are pending together would be one in any case
    command.process.send_signal(signal.SIGINT)  # from a wrapper that passes it on
    assert command.wait() == 0
    assert "Finished server process" in command.output
    assert "Shutting down: Master" in command.output


@pytest.mark.parametrize("act", ["types Ctrl-C", "closes the window"])
def test_a_terminal(run: Run, act: str) -> None:
    window, terminal = os.openpty()
    # The leader of a session that opens a terminal gets it for its own.  With tostop set, what is in the background
    # is not let write there, unless it has left the terminal.
    script = 'exec <"$0" 3>"$0"; stty tostop; exec "$@" >&3 2>&3'
    command = run("hello.py", "--port", "0", before=["sh", "-c", script, os.ttyname(terminal)])
    shown = b""
    while b"/echo" not in shown:
        shown += os.read(window, 65536)
    os.close(terminal)
    if act == "types Ctrl-C":
        os.write(window, b"\x03")
        while b"Shutting down: Master" not in shown:
            shown += os.read(window, 65536)
        assert command.wait() == 0
        os.close(window)
    else:
        os.close(window)
        assert command.wait() == 0


def test_a_later_ctrl_c_kills_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(
        "import pathlib, time\n"
        "from dualroute import DualRoute, Route\n"
        "def stuck(request):\n"
        "    pathlib.Path('entered').touch()\n"
        "    time.sleep(600)\n"
        "app = DualRoute(routes=[Route('/', stuck)])\n"
    )
    command = run("stuck.py", "--port", "0", "--wsgi")
    command.wait_until_served()
    client = threading.Thread(target=get, args=[command.url("WSGI")])
    client.start()
    eventually((tmp_path / "entered").exists)
    started = time.monotonic()
    while command.process.poll() is None:
        command.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.process.wait(0.1)
    assert time.monotonic() - started < serve.GRACE - 1
    # The last one may come when the interpreter has ended already, but for the process.
    assert command.wait() in (0, -signal.SIGINT)
    client.join()


def test_a_websocket_client_does_not_hold_the_stop_up(run: Run) -> None:
    command = run("hello.py", "--port", "0")
    url = command.url("ASGI").replace("http", "ws")
    with connect(f"{url}/echo", proxy=None) as websocket:
        websocket.send("here")
        assert websocket.recv(PATIENCE) == "here"
        started = time.monotonic()
        assert command.stop() == 0
        assert time.monotonic() - started < 12


def test_one_server_alone_gets_the_port_itself_and_both_options_mean_both(run: Run) -> None:
    cases = [("ASGI", free_port(), "--asgi"), ("WSGI", free_port(), "--wsgi")]
    started = [(served, port, run("hello.py", "--port", str(port), option)) for served, port, option in cases]
    both = run("hello.py", "--port", str(free_port()), "--asgi", "--wsgi")
    for served, port, command in started:
        assert command.url(served) == f"http://127.0.0.1:{port}"
        command.wait_until_served()
        assert get(f"http://127.0.0.1:{port}").startswith("hello from ")
        assert get(f"http://127.0.0.1:{port + 1}") == ""
        assert ("ASGI  " in command.output) != ("WSGI  " in command.output)
        command.process.terminate()
    assert get(both.url("ASGI"))
    assert get(both.url("WSGI"))
    assert both.stop() == 0
    assert [command.wait() for _, _, command in started] == [0, 0]


def test_a_server_that_dies_takes_the_other_down(run: Run) -> None:
    cases = [("uvicorn", "gunicorn"), ("gunicorn", "uvicorn")]
    commands = [run("hello.py", "--port", str(free_port()), "--workers", "2") for _ in cases]
    for (victim, _), command in zip(cases, commands, strict=True):
        command.wait_until_served()
        os.kill(command.server(victim), signal.SIGKILL)
    for (victim, other), command in zip(cases, commands, strict=True):
        assert command.wait() == 1
        assert re.search(
            rf"^dualroute: {victim} \(\w+\) was killed by SIGKILL; stopping {other} \(\w+\) too$",
            command.output,
            re.M,
        )


def test_an_app_that_one_server_cannot_load(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(HELLO + "import sys\nassert 'gunicorn' not in sys.modules\n")
    command = run("hello.py", "--port", "0")
    assert command.wait() == 1
    assert "dualroute: gunicorn (WSGI) exited with code 3; stopping uvicorn (ASGI) too\n" in command.output


def test_a_supervisor_that_is_killed_leaves_no_orphan(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(HELLO + "import time\nprint('importing', flush=True)\ntime.sleep(600)\n")
    serving = [
        run("hello.py", "--port", str(free_port()), *options) for options in ([], ["--workers", "2"], ["--reload"])
    ]
    early = run("slow.py", "--port", str(free_port()))
    for command in serving:
        command.wait_until_served()
        assert len(command.alive()) >= 4
    early.wait_for("^importing$")
    for command in (*serving, early):
        command.process.kill()
        command.process.wait()
    for command in (*serving, early):
        command.wait_until_gone()


def test_a_stop_while_the_app_is_imported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(HELLO + "import time\nprint('importing', flush=True)\ntime.sleep(600)\n")
    command = run("slow.py", "--port", "0")
    command.wait_for("^importing$")
    assert command.stop() == 0


def test_workers(run: Run) -> None:
    command = run("hello.py", "--port", "0", "--workers", "2")
    for protocol in ("ASGI", "WSGI"):
        seen: set[str] = set()

        def two_answered(seen: set[str] = seen, url: str = command.url(protocol)) -> bool:
            seen.add(get(url))
            return len(seen - {""}) == 2

        eventually(two_answered)
    assert command.stop() == 0


def test_reload(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "hello.py"
    command = run("hello.py", "--port", "0", "--reload")
    command.wait_until_served()
    addresses = [command.url("ASGI"), command.url("WSGI")]

    def written(text: str, is_seen: Callable[[], bool]) -> Callable[[], bool]:
        """Return an attempt that writes the file, and again should no watcher have been up at the time."""
        last = 0.0

        def attempt() -> bool:
            nonlocal last
            if time.monotonic() - last > 5:
                file.write_text(text)
                last = time.monotonic()
            return is_seen()

        return attempt

    def answered_by(greeting: str) -> Callable[[], bool]:
        text = HELLO.replace("hello from", greeting)
        return written(text, lambda: all(get(url).startswith(greeting) for url in addresses))

    def has_stopped() -> bool:
        return "it is started again when a file changes" in command.output

    eventually(answered_by("goodbye from"))
    eventually(written(HELLO + "raise RuntimeError('half an edit')\n", has_stopped))
    eventually(answered_by("welcome back from"))
    assert command.stop() == 0


def test_targets(run: Run) -> None:
    commands = [
        run(target, "--port", str(free_port())) for target in ("hello", "hello:app", "hello.py:app", "./hello.py")
    ]
    for command in commands:
        assert get(command.url("ASGI")).startswith("hello from ")
        assert get(command.url("WSGI")).startswith("hello from ")
        command.process.terminate()
    assert [command.wait() for command in commands] == [0, 0, 0, 0]


def test_a_file_in_a_package_elsewhere(run: Run, tmp_path: Path) -> None:
    package = tmp_path / "elsewhere" / "shop"
    (package / "web").mkdir(parents=True)
    for name in ("__init__.py", "web/__init__.py"):
        (package / name).touch()
    (package / "json.py").touch()  # named like a module of the standard library
    (package / "greeting.py").write_text("TEXT = 'hello from a package'")
    (package / "web" / "main.py").write_text(
        "from dualroute import DualRoute, Route\n"
        "from dualroute.responses import PlainTextResponse\n"
        "from ..greeting import TEXT\n"
        "site = DualRoute()\n"
        "@site.route('/')\n"
        "def home(request):\n"
        "    return PlainTextResponse(TEXT)\n"
    )
    command = run(str(package / "web" / "main.py"), "--port", "0")
    assert get(command.url("ASGI")) == "hello from a package"
    assert get(command.url("WSGI")) == "hello from a package"
    command.wait_for(r"shop\.web\.main\.home$")
    assert command.stop() == 0


def test_modules_beside_the_file_named_like_the_standard_library(run: Run, tmp_path: Path) -> None:
    # Those that a server loads late, such as gunicorn json, are taken from beside the file, as with gunicorn alone.
    (tmp_path / "apps").mkdir()
    for name in ("types.py", "socket.py", "logging.py"):
        (tmp_path / "apps" / name).write_text("raise RuntimeError('not me')")
    (tmp_path / "apps" / "hello.py").write_text(HELLO)
    command = run("apps/hello.py", "--port", "0")
    assert get(command.url("ASGI")).startswith("hello from ")
    assert get(command.url("WSGI")).startswith("hello from ")
    assert command.stop() == 0


def test_a_thread_left_running_holds_up_neither_start_nor_stop(run: Run, tmp_path: Path) -> None:
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()\n"
    (tmp_path / "hello.py").write_text(f"{HELLO}\n{thread}")
    command = run("hello.py", "--port", "0")
    assert get(command.url("ASGI")).startswith("hello from ")
    started = time.monotonic()
    assert command.stop() == 0
    assert time.monotonic() - started < 15


TWO_APPS = "from dualroute import DualRoute, Router\none = DualRoute()\ntwo = Router()\nagain = two\n"


@pytest.mark.parametrize(
    ("files", "arguments", "line"),
    [
        ({}, ["missing.py"], "missing.py: no such file"),
        ({}, ["missing.py:app"], "missing.py: no such file"),
        ({}, ["some/where.py"], "some/where.py: no such file"),
        ({}, ["."], ".: is a directory; name the file in it that holds the app"),
        ({"app.txt": ""}, ["app.txt"], "app.txt: not a Python file, its name doesn't end in .py"),
        ({"my-app.py": ""}, ["my-app.py"], "my-app.py: can't be imported, as 'my-app' is not a Python name; rename it"),
        (
            {"json.py": ""},
            ["json.py"],
            "json.py: can't be imported, as 'json' is the name of a module it needs; rename it",
        ),
        ({}, ["missing:app"], "missing: no module named 'missing', in {cwd} or elsewhere"),
        ({"x.py": ""}, ["x:app"], "x: has no 'app'"),
        ({"x.py": "site = 1"}, ["x:sites"], "x: has no 'sites'; did you mean 'site'?"),
        ({"x.py": "app = 1"}, ["x.py:app"], "x.py: 'app' is no app; expected a DualRoute, not int"),
        ({"x.py": ""}, ["x.py:a b"], "x.py:a b: 'a b' is no attribute name; expected FILE.py:NAME or MODULE:NAME"),
        (
            {"x.py": "app = 1"},
            ["x.py"],
            "x.py: holds no app: no attribute 'app' or 'application', and no DualRoute or Router object",
        ),
        ({"x.py": TWO_APPS}, ["x.py"], "x.py: holds several apps; say which one: x.py:one or x.py:two"),
        (
            {"x.py": "import os\nos._exit(7)"},
            ["x.py"],
            "x.py: importing it ended the process, which exited with code 7",
        ),
        ({}, ["hello.py", "--host", "no.such.invalid"], "--host 'no.such.invalid' is not an address of this machine: "),
        (
            {},
            ["hello.py", "--port", "65535"],
            "--port 65535 leaves no port for gunicorn (WSGI), which gets the next one",
        ),
        (
            {},
            ["hello.py", "--reload", "--workers", "2"],
            "--reload and --workers exclude each other, as uvicorn can't reload several workers",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Run, tmp_path: Path, files: dict[str, str], arguments: list[str], line: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = run("--port", "0", *arguments)
    assert command.wait() == 2
    assert command.output.startswith("dualroute: " + line.format(cwd=tmp_path))
    assert command.output.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "last", "frames"),
    [
        (
            "def fail():\n    raise ValueError('no\\ngood')\nfail()",
            "ValueError: no good",
            ["line 3, in <module>", "line 2, in fail"],
        ),
        ("x = (", "SyntaxError: '(' was never closed", ["line 1"]),
        ("import missing_module", "ModuleNotFoundError: No module named 'missing_module'", ["line 1, in <module>"]),
        ("raise SystemExit(3)", "SystemExit: 3", ["line 1, in <module>"]),
    ],
)
def test_an_import_that_fails_shows_the_users_frames(
    run: Run, tmp_path: Path, text: str, last: str, frames: list[str]
) -> None:
    (tmp_path / "x.py").write_text(text)
    command = run("x.py", "--port", "0")
    assert command.wait() == 2
    assert command.output.endswith(f"dualroute: x.py: can't be imported: {last}\n")
    assert re.findall(r'File "(.*)", (.*)', command.output) == [(str(tmp_path / "x.py"), frame) for frame in frames]


@pytest.mark.parametrize(("offset", "server"), [(0, "uvicorn (ASGI)"), (1, "gunicorn (WSGI)")])
def test_a_port_in_use(run: Run, offset: int, server: str) -> None:
    port = free_port()
    taken = port + offset
    with socket.create_server(("127.0.0.1", taken)):
        command = run("hello.py", "--port", str(port))
        assert command.wait() == 2
    line = f"dualroute: port {taken} on 127.0.0.1 is in use, so {server} can't listen there; pass another --port\n"
    assert command.output == line


def test_servers_that_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["run", str(tmp_path / "hello.py")]) == 2
    line = 'dualroute: uvicorn is not installed: pip install "dualroute[servers]"\n'
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["match", "x.py", "G T", "/"],
            "dualroute match: argument METHOD: 'G T' is no HTTP method (see dualroute match --help)\n",
        ),
        (
            ["routes", "x.py", "--tree", "--json"],
            "dualroute routes: argument --json: not allowed with argument --tree (see dualroute routes --help)\n",
        ),
        ([], "dualroute: the following arguments are required: COMMAND (see dualroute --help)\n"),
        (["run"], "dualroute run: the following arguments are required: TARGET (see dualroute run --help)\n"),
        (["routes"], "dualroute routes: the following arguments are required: TARGET (see dualroute routes --help)\n"),
        (
            ["run", "x.py", "--port", "70000"],
            "dualroute run: argument --port: '70000' is not a number from 0 to 65535 (see dualroute run --help)\n",
        ),
        (
            ["run", "x.py", "--workers", "0"],
            "dualroute run: argument --workers: '0' is not a number from 1 to 1000 (see dualroute run --help)\n",
        ),
    ],
)
def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err == line


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert not end.value.code
        return capsys.readouterr().out

    assert printed("--version") == f"dualroute {dualroute.__version__}\n"
    assert "run" in printed("--help")
    for option in ("TARGET", "--asgi", "--wsgi", "--host", "--port", "--workers", "--reload"):
        assert option in printed("run", "--help")
    for option in ("TARGET is a file", "--legacy"):
        assert option in printed("routes", "--help")


def test_importing_the_command_loads_no_server_and_no_event_loop() -> None:
    code = "import sys, dualroute.cli; print({'asyncio', 'uvicorn', 'gunicorn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"set()\n"
