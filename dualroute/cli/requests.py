"""The requests that `dualroute check` sends: one for each route and method, those of a file, and generated ones."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlsplit

from dualroute.cli.playing import Asked
from dualroute.inspection import RouteInfo
from dualroute.paths import Template, quote_path
from dualroute.probe import CLIError
from dualroute.samples import NoSample, choice, regex_groups, samples

__all__ = ["LeftOut", "Plan", "generated", "named_by", "read_requests"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True)
class LeftOut:
    """A route that is not asked, or a request that is not sent, and why."""

    what: str
    reason: str


@dataclass
class Plan:
    """What is to be asked.

    Args:
        methods: the methods that may be sent; none for all that a route takes.
        params: values for path and host parameters, by name.
        exclude: patterns of paths and names that are left out.
    """

    methods: tuple[str, ...]
    params: Mapping[str, str] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    left_out: list[LeftOut] = field(default_factory=list)

    def for_route(self, info: RouteInfo, legacy: Mapping[str, Sequence[str]]) -> Iterator[Asked]:
        """Yield a request for each method of a route.

        Args:
            info: the route.
            legacy: paths of mounted apps whose URLs are known, by the path of the mount.
        """
        what = f"{info['host'] or ''}{info['path']}"
        if (pattern := named_by(self.exclude, info["path"], info["full_name"])) is not None:
            self.left_out.append(LeftOut(what, f"--exclude {pattern}"))
            return
        if info["kind"] == "websocket":
            self.left_out.append(LeftOut(what, "it takes websockets, which WSGI has not"))
            return
        taken = info["methods"]
        methods = self.methods or tuple(taken) or ("GET", "HEAD")
        methods = tuple(method for method in methods if not taken or method in taken)
        if not methods:
            self.left_out.append(LeftOut(what, f"it takes {', '.join(taken)} only (see --method)"))
            return
        try:
            host = self._filled(_without_port(info["host"]), host=True) if info["host"] else ""
            paths = legacy.get(info["path"]) or [self._path(info)]
        except NoSample as error:
            self.left_out.append(LeftOut(what, f"no value is known for {error} (see --param)"))
            return
        headers = (("host", host),) if host else ()
        for path in paths:
            for method in methods:
                yield Asked(method, quote_path(path), headers, origin=f"route {what}")

    def _path(self, info: RouteInfo) -> str:
        if info["kind"] == "rule":
            return self._matching(info["own"], info["path"].removesuffix(info["own"]))
        path = self._filled(info["path"].removesuffix("*") or "/")
        # A default is asked where no route fits, which its root may well do.
        return f"{path}elsewhere" if info["kind"] == "default" else path

    def _filled(self, template: str, *, host: bool = False) -> str:
        parts = []
        for part in Template(template, host=host).parts:
            if isinstance(part, str):
                parts.append(part)
            elif part.name in self.params:
                parts.append(self._given(part.name, part.convertor))
            else:
                parts.append(choice(part.name, part.convertor.regex, part.convertor.convert).values[0])
        return "".join(parts)

    def _given(self, name: str, convertor: Any) -> str:
        value = self.params[name]
        try:
            if re.fullmatch(convertor.regex, value) is None:
                raise ValueError(value)
            convertor.convert(value)
        except ValueError:
            raise CLIError(f"--param {name}={value}: the convertor of {name!r} does not take that") from None
        return value

    def _matching(self, pattern: str, before: str) -> str:
        """Return a path that the pattern of a rule takes."""
        groups = regex_groups(pattern)
        parts: list[Any] = [pattern.rstrip("$")]
        for name, inside in groups.items():
            text = next((form for form in (f"(?P<{name}>{inside})", f"({inside})") if form in parts[-1]), None)
            if text is None:
                raise NoSample(f"the pattern {pattern!r}")
            known, _, rest = parts.pop().partition(text)
            parts += [known, choice(name, inside), rest]
        for sample in samples(parts, 8):
            path = sample.text.replace(".*", "a").replace("\\", "").replace("?", "")
            if re.fullmatch(pattern, path):
                return self._filled(before) + path if before else path
        raise NoSample(f"the pattern {pattern!r}")


def named_by(patterns: Sequence[str], path: str, name: str | None) -> str | None:
    """Return the first of some patterns that a route's path or name fits; shell patterns, where braces are plain."""
    for pattern in patterns:
        if pattern in (path, name) or fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(name or "", pattern):
            return pattern
    return None


def _without_port(host: str) -> str:
    return host[: host.rindex(":")] if host.rpartition(":")[2].isdecimal() else host


# Requests of a file.


def read_requests(path: str) -> list[Asked]:
    """Return the requests of a file: JSON lines, or a HAR file (HTTP Archive 1.2) as browsers save it.

    A line is an object with "path" (or "url"), and "method", "headers" (an object, or a list of pairs), and one of
    "body" (text), "json" and "base64".  Empty lines, and those that begin with ``#``, are passed over.

    Raises CLIError.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise CLIError(f"{path}: {error.strerror or error}") from None
    except UnicodeError as error:
        raise CLIError(f"{path}: {error}") from None
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict) and isinstance(whole.get("log"), dict):
        entries = whole["log"].get("entries", [])
        return [_from_har(entry, f"{path}, entry {number}") for number, entry in enumerate(entries, 1)]
    asked = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            asked.append(_from_line(line, f"{path}:{number}"))
    return asked


def _from_line(line: str, where: str) -> Asked:
    try:
        told = json.loads(line)
        if not isinstance(told, dict):
            raise ValueError("not an object")
        if unknown := set(told) - {"method", "path", "url", "headers", "body", "json", "base64"}:
            raise ValueError(f"unknown key {min(unknown)!r}")
        headers = told.get("headers") or {}
        pairs = [(str(name), str(value)) for name, value in (headers.items() if isinstance(headers, dict) else headers)]
        if "json" in told:
            body = json.dumps(told["json"]).encode()
            if not any(name.lower() == "content-type" for name, _ in pairs):
                pairs.append(("content-type", "application/json"))
        elif "base64" in told:
            body = base64.b64decode(told["base64"], validate=True)
        else:
            body = str(told.get("body", "")).encode()
        return _checked(told.get("method", "GET"), told.get("path") or told["url"], pairs, body, where)
    except KeyError:
        raise CLIError(f"{where}: there is neither a path nor a url") from None
    except (ValueError, TypeError, binascii.Error) as error:
        raise CLIError(f"{where}: {error}") from None


def _from_har(entry: Any, where: str) -> Asked:
    try:
        request = entry["request"]
        pairs = [
            (header["name"], header["value"])
            for header in request.get("headers", ())
            # HTTP/2's pseudo-headers, what frames a body, and the codings that browsers know.
            if not header["name"].startswith(":") and header["name"].lower() not in ("content-length", "connection")
        ]
        body = (request.get("postData") or {}).get("text", "").encode()
        return _checked(request["method"], request["url"], pairs, body, where)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CLIError(f"{where}: not a request of a HAR file: {error!r}") from None


def _checked(method: str, url: str, pairs: list[tuple[str, str]], body: bytes, where: str) -> Asked:
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is no HTTP method")
    if not url.startswith("/"):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"{url!r} is neither a path nor an http URL")
        if not any(name.lower() == "host" for name, _ in pairs):
            pairs = [("host", parts.netloc), *pairs]
        url = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    for name, value in pairs:
        if not _TOKEN.fullmatch(name) or re.search(r"[\r\n\0]", value):
            raise ValueError(f"{name!r}: {value!r} is no header")
        value.encode("latin-1")
    target = quote(url.partition("#")[0], safe="/%?:@!$&'()*+,;=-._~[]")
    return Asked(method, target, tuple(pairs), body, where)


# Generated requests.

_ODD_HEADERS = (
    ("accept", "text/html, */*;q=0.1"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, br;q=0.5"),
    ("accept-language", "de, en;q=0.5"),
    ("cookie", "a=1; b=\xe9"),
    ("if-none-match", "*"),
    ("if-modified-since", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ("origin", "https://elsewhere.example"),
    ("range", "bytes=0-3"),
    ("range", "bytes=-2"),
    ("range", "bytes=9-1"),
    ("x-name", "caf\xe9"),
    ("x_name", "with an underscore"),
    ("host", "localhost:8000"),
    ("host", "no host"),
)
_QUERIES = ("a=1&a=2&b=", "q=%C3%A9", "q=%ff", "&&==", "a+b=%2B%20c", "page=-1")


def generated(asked: Asked, count: int, seed: int) -> Iterator[Asked]:
    """Yield `count` requests like `asked`, each with something odd about it; the same ones for the same seed."""
    chance = random.Random(f"{seed} {asked.method} {asked.target} {asked.headers}")  # noqa: S311  # no secrets here
    for _ in range(count):
        path = asked.target
        headers = asked.headers
        for _ in range(chance.randint(1, 2)):
            what = chance.choice(("path", "query", "header", "header"))
            if what == "path":
                path = _odd_path(path, chance)
            elif what == "query" and "?" not in path:
                path = f"{path}?{chance.choice(_QUERIES)}"
            else:
                name, value = chance.choice(_ODD_HEADERS)
                headers = (*(pair for pair in headers if name != "host" or pair[0] != "host"), (name, value))
        yield replace(asked, target=path, headers=headers, origin=f"generated from {asked.origin}")


def _odd_path(target: str, chance: random.Random) -> str:
    path, mark, query = target.partition("?")
    at = chance.randint(1, len(path))
    odd = chance.choice(
        (
            f"{path}/",
            path.rstrip("/") or "/",
            path.replace("/", "//", 1),
            f"{path}%2F",
            f"{path}/.",
            f"{path}/..",
            path[:at] + chance.choice(("%ff", "%00", "%C3%A9", "%20", ";x", "%25", "a")) + path[at:],
            re.sub(r"[a-z]", lambda match: f"%{ord(match[0]):02X}", path, count=1),
        )
    )
    return odd + mark + query
