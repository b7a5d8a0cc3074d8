"""The ``dualroute`` command.

``dualroute run notes.py`` starts uvicorn (ASGI) and gunicorn (WSGI) on the same object (`dualroute.cli.serve`).
``dualroute routes notes.py`` prints what it answers, and ``dualroute match notes.py GET /notes/7`` which route answers
that, and why (`dualroute.cli.show`).  ``dualroute check notes.py`` asks it by both protocols and compares the answers
(`dualroute.cli.check`).  ``dualroute completion bash`` prints what makes a shell complete all this.

The options are read by argparse: the command is there wherever dualroute is installed, and so is all that it needs.
Only `completion` wants more, shtab, which comes with the extra ``cli``.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from dualroute.cli.check import check
from dualroute.cli.serve import run
from dualroute.cli.show import match, routes
from dualroute.cli.terminal import say
from dualroute.probe import CLIError

__all__ = ["main", "parser"]

RUN_DESCRIPTION = """\
Serve one app object at once by uvicorn (ASGI) and by gunicorn (WSGI), for development and for trying it out.

"""
ROUTES_DESCRIPTION = """\
Print the routes of an app, in the order in which they are tried.

With --legacy, print for each app of another framework that stands behind it (as its fallback, or in a mount or a
host) that app's own URLs, and whether the new routes answer them by now: all requests (moved), some of them (in part,
with what is left), or none (legacy).  A URL that nobody answers any more is lost.  It is found out by asking the
routes where sample paths lead; the URLs of Flask, Quart, Django, Bottle, Starlette and FastAPI apps can be read.
"""
MATCH_DESCRIPTION = """\
Print which route answers a request, and which others were looked at and why they lost: by the method, by a convertor,
by the host, or by the order in which they are declared.  Nothing is served.

METHOD is an HTTP method, or WEBSOCKET.  URL is a path, or a whole URL where the host matters.
"""
CHECK_DESCRIPTION = """\
Send requests to an app by ASGI and by WSGI, in one process and without a server, and print where the answers differ:
the status, the headers, the body, or how the response ends.  The lifespan is run by both.

Every route is asked, with sample values for its parameters, by GET and HEAD as far as it takes them.  Each request is
sent twice by each protocol; what differs between two answers by one of them varies by itself, and is not compared.
"""
COMPLETION_DESCRIPTION = """\
Print a script that makes a shell complete the command.  In your shell's start-up file:

  bash        eval "$(dualroute completion bash)"
  zsh         eval "$(dualroute completion zsh)"
  fish        dualroute completion fish | source
"""
TARGET = """
TARGET is a file (notes.py, or notes.py:name) or module:name.  Without a name the app is the attribute `app`, else
`application`, else the only DualRoute or Router object of the module.
"""
EXIT_CODES = """
exit codes: 0 when all went well, 1 {one}, 2 when the app can't be found or the command line is wrong
"""
SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 after a stop that was asked for, or when what was asked for is printed; 1 when a server ended by itself, or no
    route matches; 2 when nothing could be started or asked.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a route may hold what the terminal's encoding can't
    try:
        options = parser().parse_args(argv)
        answer: Callable[[argparse.Namespace], int] = options.answer
        return answer(options)
    except CLIError as error:
        say(error)
        return 2
    except KeyboardInterrupt:  # before there was anything to stop
        return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = _Parser(prog="dualroute", description="Routing for WSGI and ASGI from one app object.", allow_abbrev=False)
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(_command(commands, "run", run, "serve an app by uvicorn and gunicorn at once"))
    _add_routes(_command(commands, "routes", routes, "print the routes of an app"))
    _add_match(_command(commands, "match", match, "print which route answers a request, and why"))
    _add_check(_command(commands, "check", check, "ask an app by ASGI and by WSGI, and print what differs"))
    _add_completion(_command(commands, "completion", completion, "print a script for your shell"))
    return top


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Print the version, which is looked up when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> NoReturn:
        from dualroute import __version__

        print(f"dualroute {__version__}")
        parser.exit()


def _command(commands: Any, name: str, answer: Callable[..., int], words: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=words, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.set_defaults(answer=answer)
    return made


def _add_target(parser: argparse.ArgumentParser) -> None:
    argument: Any = parser.add_argument("target", metavar="TARGET", help="FILE.py, FILE.py:NAME or MODULE:NAME")
    argument.complete = "file"  # for shtab


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = RUN_DESCRIPTION + TARGET
    parser.epilog = "Ctrl-C or SIGTERM stops the servers; a second Ctrl-C while they stop kills them.\n" + (
        EXIT_CODES.format(one="when a server ended by itself")
    )
    _add_target(parser)
    parser.add_argument("--asgi", action="store_true", help="serve by uvicorn only")
    parser.add_argument("--wsgi", action="store_true", help="serve by gunicorn only")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=_number(0, 65535),
        default=8000,
        help="the port of uvicorn; gunicorn gets the next one, or this one with --wsgi; 0 picks free ports"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=_number(1, 1000), default=1, metavar="N", help="processes per server (default: %(default)s)"
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="each server restarts its worker, by its own reload option, when a file changes: uvicorn watches the .py"
        " files below the target's directory, gunicorn the modules that were imported; requests under way are"
        " finished, websockets are closed",
    )


def _add_routes(parser: argparse.ArgumentParser) -> None:
    parser.description = ROUTES_DESCRIPTION + TARGET
    _add_target(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--tree", action="store_true", help="print mounts and hosts with what is inside them")
    shape.add_argument("--json", action="store_true", help="print all that is known, as JSON")
    parser.add_argument("--legacy", action="store_true", help="print how far a migration from a legacy app has come")


def _add_match(parser: argparse.ArgumentParser) -> None:
    parser.description = MATCH_DESCRIPTION + TARGET
    parser.epilog = EXIT_CODES.format(one="when no route answers (404, 405, a redirect)")
    _add_target(parser)
    parser.add_argument("method", metavar="METHOD", type=_method, help="GET, POST, …, or WEBSOCKET")
    parser.add_argument("url", metavar="URL", help="/users/7, or http://example.org/users/7")
    parser.add_argument("--all", action="store_true", help="name the routes too whose path has nothing in common")
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.description = CHECK_DESCRIPTION + TARGET
    parser.epilog = EXIT_CODES.format(one="when an answer differs")
    _add_target(parser)
    methods = parser.add_mutually_exclusive_group()
    methods.add_argument(
        "--method", action="append", type=_method, metavar="METHOD", help="a method to send; GET and HEAD unless given"
    )
    methods.add_argument("--all-methods", action="store_true", help="send each route all the methods that it takes")
    parser.add_argument(
        "--param",
        action="append",
        type=_parameter,
        metavar="NAME=VALUE",
        help="what to put for a parameter of paths or hosts; what its convertor takes unless given",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        metavar="PATTERN",
        help="leave out the routes whose path, as `dualroute routes` prints it, or name is this; * stands for anything",
    )
    requests: Any = parser.add_argument(
        "--requests",
        action="append",
        metavar="FILE",
        help='also send the requests of a file: a HAR file, or lines such as {"method": "GET", "path": "/users/7",'
        ' "headers": {"accept": "text/html"}, "body": "text"}, with "json" or "base64" for other bodies',
    )
    requests.complete = "file"  # for shtab
    parser.add_argument(
        "--generate",
        type=_number(0, 100_000),
        default=0,
        metavar="N",
        help="also send N requests for each route and method with odd paths, queries and headers",
    )
    parser.add_argument(
        "--seed", type=_number(0, 999_999_999), default=0, help="what those are drawn by (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout",
        type=_number(1, 3600),
        default=5,
        metavar="SECONDS",
        help="leave a response that is not complete by then (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.description = COMPLETION_DESCRIPTION
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def completion(options: argparse.Namespace) -> int:
    """Print the script that completes the command in a shell."""
    try:
        import shtab
    except ImportError:
        raise CLIError('the scripts are made by shtab, which is not installed: pip install "dualroute[cli]"') from None
    print(shtab.complete(parser(), shell=options.shell))
    return 0


def _method(text: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no HTTP method")
    return text.upper()


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _number(least: int, most: int) -> Any:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return parse
