"""What gets imported, seen in fresh interpreters: a WSGI worker pays for no asyncio, and neither side for the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

HEAVY = ("asyncio", "dualroute_asgi", "dualroute_wsgi", "werkzeug", "asgiref", "threading", "socket", "ssl")


def loaded(script: str) -> set[str]:
    """Run a script in a fresh interpreter, and return those of HEAVY, and what is below them, that it has loaded."""
    packages = {str(Path(str(import_module(name).__file__)).parents[1]) for name in ("dualroute", "dualroute_wsgi")}
    report = f"""
import json, sys
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PREAMBLE) + textwrap.dedent(script) + report],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sorted(packages))},
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


PREAMBLE = """
import sys
before = set(sys.modules)

def call_wsgi(app, **further):
    import io
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "a=1",
        "SERVER_NAME": "testserver", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": False,
        "wsgi.run_once": False, **further,
    }
    started = []
    result = app(environ, lambda *args: started.append(args))
    body = b"".join(result)
    assert started[0][0] == "200 OK", started
    return body

def call_asgi(app):
    import asyncio
    sent = []
    async def receive():
        return {"type": "http.request"}
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": "/",
             "query_string": b"", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 200, sent
    return sent[1]["body"]
"""

DEF = """
from dualroute import DualRoute, JSONResponse, PlainTextResponse, Route, StreamingResponse

def get(request):
    assert request.headers.get("host") is None and request.query_params is not None and request.url.path
    return JSONResponse({"method": request.method, "params": request.path_params})

app = DualRoute([Route("/", get)])
"""


def test_a_clean_interpreter_has_loaded_none_of_it() -> None:
    assert loaded("") == set(), "the other tests here would show nothing"


def test_importing_dualroute_loads_no_event_loop_no_adapter_and_no_werkzeug() -> None:
    assert loaded("import dualroute") & {"asyncio", "dualroute_asgi", "dualroute_wsgi", "werkzeug", "asgiref"} == set()


CORE = (
    *("applications", "background", "bodies", "callables", "connection", "convertors", "datastructures"),
    *("endpointroutes", "endpoints", "exceptions", "exchange", "failures", "foreign", "handlers", "lazily"),
    *("lifespan", "limits"),
    *(
        "matching",
        "middleware",
        "multidicts",
        "paths",
        "requests",
        "responses",
        "routes",
        "routing",
        "serving",
        "targets",
        "timeouts",
    ),
    *("translation", "types", "websockets"),
)
"""What `import dualroute` loads; everything else is loaded by those who use it."""


def test_importing_dualroute_loads_no_battery() -> None:
    script = """
import json, sys
import dualroute
print(json.dumps([name for name in sys.modules if name.startswith("dualroute.")]))
"""
    folder = str(Path(str(import_module("dualroute").__file__)).parents[1])
    environ = {**os.environ, "PYTHONPATH": folder}
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env=environ
    )
    assert set(json.loads(ran.stdout)) <= {f"dualroute.{name}" for name in CORE}


def test_middleware_is_loaded_when_it_is_imported_and_loads_no_library() -> None:
    names = ["authentication", "compression", "cors", "debugpage", "errors", "gzip", "httpsredirect", "opentelemetry"]
    names += ["proxy_headers", "rate_limit", "request_id", "sessions", "trustedhost"]
    script = f"""
import dualroute
assert not [name for name in sys.modules if name.startswith("dualroute.middleware.")]
for name in {names!r}:
    __import__(f"dualroute.middleware.{{name}}")
for name in ("brotli", "zstandard", "itsdangerous", "opentelemetry"):
    assert name not in sys.modules, name
"""
    assert loaded(script) - {"threading"} == set()  # which logging loads


def test_making_an_app_loads_neither_adapter() -> None:
    assert loaded(DEF) & {"asyncio", "dualroute_asgi", "dualroute_wsgi", "werkzeug"} == set()


def test_serving_a_def_handler_over_wsgi_loads_no_asyncio_no_asgi_side_and_no_werkzeug() -> None:
    found = loaded(DEF + 'assert call_wsgi(app) == b\'{"method":"GET","params":{}}\'\n')
    assert "dualroute_wsgi" in found
    assert found & {"asyncio", "dualroute_asgi", "werkzeug", "asgiref"} == set()


NOT_ASYNC = {
    "stream": """
app = DualRoute([Route("/", lambda request: StreamingResponse(iter([b"a"]), media_type="a/b"))])
""",
    "middleware": """
def middleware(connection):
    return (yield connection)

app = DualRoute([Route("/", get)], middleware=[middleware])
""",
    "rules": """
from dualroute.rules import MethodMatches, PathMatches, RuleRouter

inner = DualRoute([Route("/", get)])
app = RuleRouter([("/x", get), (PathMatches("/.*") & ~MethodMatches("POST"), inner)])
""",
    "written response": """
from dualroute.rules import RuleRouter

def write(request):
    request.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    request.finish()

app = RuleRouter([("/", write)])
""",
    "rule for a connection delegate": """
from dualroute.delegates import HTTPServerConnectionDelegate
from dualroute.rules import RuleRouter

app = RuleRouter([("/delegate", HTTPServerConnectionDelegate()), ("/", get)])
""",
    "endpoint class": """
from dualroute import HTTPEndpoint

class app(HTTPEndpoint):
    def get(self, request):
        return PlainTextResponse("")
""",
    "websocket route": """
from dualroute import WebSocketRoute

async def serve(websocket):
    pass

app.routes.append(WebSocketRoute("/ws", serve))
""",
    "unused async def": """
async def get_async(request):
    return PlainTextResponse("")

app.add_route("/async", get_async)
""",
    "file": """
from dualroute.responses import FileResponse

app = DualRoute([Route("/", lambda request: FileResponse(sys.executable))])
""",
    "static files": """
import os
from dualroute import StaticFiles

os.chdir(os.path.dirname(os.__file__))
app = StaticFiles(directory=".")
further = {"PATH_INFO": "/os.py"}
whole, call_wsgi = call_wsgi, lambda app: whole(app, **further)
""",
    "server-sent events": """
from dualroute import EventSourceResponse

app = DualRoute([Route("/", lambda request: EventSourceResponse(["a"]))])
""",
    "HTTPException": """
from dualroute import HTTPException

def refuse(request):
    raise HTTPException(200, "x")

app = DualRoute([Route("/", refuse)])
""",
}


@pytest.mark.parametrize("script", NOT_ASYNC.values(), ids=NOT_ASYNC)
def test_nor_does_anything_else_that_is_not_async(script: str) -> None:
    found = loaded(DEF + script + "call_wsgi(app)\n")
    assert found & {"asyncio", "dualroute_asgi", "werkzeug", "asgiref"} == set()


def test_an_async_def_handler_over_wsgi_loads_asyncio_when_it_is_called_and_not_before() -> None:
    found = loaded(
        DEF
        + """
async def get_async(request):
    return PlainTextResponse("async")

app = DualRoute([Route("/", get_async), Route("/def", get)])
call_wsgi(app, PATH_INFO="/def")
assert "asyncio" not in sys.modules
assert call_wsgi(app) == b"async"
assert "asyncio" in sys.modules
"""
    )
    assert "asyncio" in found
    assert found & {"dualroute_asgi", "werkzeug", "asgiref"} == set()


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_serving_over_asgi_loads_no_wsgi_side_and_no_werkzeug(colour: str) -> None:
    found = loaded(
        f"""
from dualroute import DualRoute, PlainTextResponse, Route

{colour} get(request):
    return PlainTextResponse("a")

assert call_asgi(DualRoute([Route("/", get)])) == b"a"
"""
    )
    assert "dualroute_asgi" in found
    assert found & {"dualroute_wsgi", "werkzeug"} == set()


FORM = """
from io import BytesIO

def get(request):
    return JSONResponse([value if isinstance(value, str) else value.size for value in request.form().values()])

body = b"--b\\r\\nContent-Disposition: form-data; name=a; filename=f\\r\\n\\r\\n1\\r\\n--b--"
app = DualRoute([Route("/", get, methods=["POST"])])
further = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)}
assert not any(name.startswith("dualroute.") and "form" in name for name in sys.modules), "not before it is used"
assert call_wsgi(app, CONTENT_TYPE="multipart/form-data; boundary=b", **further) == b"[1]"
"""


def test_a_def_handler_s_form_loads_no_asyncio_and_nothing_of_forms_before() -> None:
    assert loaded(DEF + FORM) & {"asyncio", "dualroute_asgi", "asgiref"} == set()


@pytest.mark.skipif(os.environ.get("DUALROUTE_TEST_INSTALLED") != "1", reason="the tests run from the checkout")
@pytest.mark.parametrize("name", ["dualroute", "dualroute_asgi", "dualroute_wsgi"])
def test_what_is_tested_is_what_is_installed(name: str) -> None:
    path = Path(str(import_module(name).__file__))
    assert "site-packages" in path.parts
    assert (path.parent / "py.typed").is_file()
