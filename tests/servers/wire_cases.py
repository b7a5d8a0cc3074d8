"""The wire cases: read from the files in `cases`, filled in, and compared with what came back.

A case is data: the bytes of a request and the answer to them.  What the app was handed decides which answer is due, so
nothing here asks which server was in between.  `cases/README.md` describes the format.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tests.servers.wire import Answer

__all__ = ["CASES", "ROWS", "Case", "Expected", "Filled", "check", "refused"]

FOLDER = Path(__file__).parent / "cases"

COLOURS = ("def", "async")

Facts = Mapping[str, Any]
"""What the app was handed: see `wire_site`."""


@dataclass(frozen=True)
class Expected:
    """An answer; what is None does not matter.

    Args:
        status: the status, or several that are all right; 0 for a connection that is closed without a word.
        headers: headers that it has, each once, or as often as a list has values.
        without: headers that it does not have.
        text: the body.
        json: the body, as JSON.
        size: how many bytes the body has.
        contains: what is in the body.
        lacks: what is nowhere in it, nor in its headers.
        complete: whether it ends as its headers say.
        follows: how what comes after it may end, where anything may come.
        reports: what the app tells besides, each a kind and fields; ``{null}`` stands for nothing.
        log: what is in the one line that is logged; without it nothing is, from warnings on.
        level: the level of that line.
        closes: the code that a websocket is closed with, or several that are all right; 0 where it is closed without.
    """

    status: tuple[int, ...]
    headers: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    text: str | None = None
    json: Any = None
    size: int | None = None
    contains: str | None = None
    lacks: tuple[str, ...] = ()
    complete: bool = True
    follows: str = ""
    reports: tuple[Mapping[str, Any], ...] = ()
    log: str | None = None
    level: str | None = None
    closes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Case:
    """A request and its answer.

    Args:
        name: which; each name is there once.
        why: what it shows, and by which rule.
        row: the title of the row in `rows.toml` that it belongs to, if any.
        head: the lines of the request's head.
        body: what follows the head.
        frames: what the client sends once a websocket is accepted: frames, masked by zeros and so as they are.
        pieces_of: how many bytes go out at a time; all at once where None.
        beside: a request that others send meanwhile: its `head` and `body`, which may stop short, and how many `times`.
        then: what the client does when all is sent: it "reads" the answer, or first "half-closes" its side, or "leaves"
            as soon as the answer begins.
        may_refuse: whether a server may refuse it before the app sees it.
        http2: whether it makes sense over HTTP/2, where it can be put so.
        not_in_process: why it can't be asked without a server, if so.
        answer: what comes back.
        handed_over: answers to what servers make of it, each beside the facts by which that is told: what the app was
            handed, or fields of the `Server`.
    """

    name: str
    why: str
    head: tuple[str, ...]
    answer: Expected
    row: str | None = None
    body: bytes = b""
    frames: bytes = b""
    pieces_of: int | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    then: str = "reads"
    may_refuse: bool = False
    http2: bool = True
    not_in_process: str = ""
    handed_over: tuple[tuple[Mapping[str, Any], Expected], ...] = ()

    def __str__(self) -> str:
        return self.name

    def fill(self, token: str, base: str = "") -> Filled:
        """Return the request for the wire.

        Args:
            token: by which the app tells of it.
            base: the path that the app is mounted at.
        """
        names = {"token": token, "base": base, "length": str(len(self.body))}
        body = self.body.replace(b"{base}", base.encode())
        if len(body) != len(self.body):
            names["length"] = str(len(body))
        lines = [_filled(line, names).encode("latin-1") for line in self.head]
        lines.append(b"X-Token: " + token.encode())
        if not any(line.lower().startswith(b"connection:") for line in lines):
            lines.append(b"Connection: close")
        return Filled(tuple(lines), body)

    def others(self, token: str, base: str = "") -> list[Filled]:
        """Return the requests of others, each by a token of its own, which begins with that of the case."""
        if not self.beside:
            return []
        request = Case("", "", self.beside["head"], self.answer, body=self.beside["body"])
        return [request.fill(f"{token}-{number}", base) for number in range(self.beside["times"])]

    def expected(self, facts: Facts, base: str = "") -> Expected:
        """Return the answer that is due to what was handed over."""
        names = {"base": base}
        due = self.answer
        for when, expected in self.handed_over:
            if all(_fact(facts, name) == _filled(str(value), names) for name, value in when.items()):
                due = expected
                break
        return due if due.log is None else replace(due, log=_filled(due.log, names))

    @property
    def asks_how_the_body_ended(self) -> bool:
        """Whether the answer depends on what became of the body."""
        return any(name in ("taken", "ended") for when, _ in self.handed_over for name in when)


@dataclass(frozen=True)
class Filled:
    """A request for the wire: the lines of the head, and the body as it is sent."""

    head: tuple[bytes, ...]
    body: bytes

    @property
    def data(self) -> bytes:
        return b"\r\n".join([*self.head, b"", b""]) + self.body

    @property
    def method(self) -> str:
        return self.head[0].split(b" ")[0].decode("latin-1")

    @property
    def target(self) -> bytes:
        return self.head[0].partition(b" ")[2].rpartition(b" ")[0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        pairs = (line.partition(b":") for line in self.head[1:])
        return [(name, value.strip(b" \t")) for name, _, value in pairs]

    def values(self, name: bytes) -> list[bytes]:
        return [value for known, value in self.headers if known.lower() == name]

    def received(self) -> tuple[bytes, bool]:
        """Return the body as the app is to see it, and whether it stops short."""
        if self.values(b"transfer-encoding"):
            return _unchunked(self.body)
        lengths = self.values(b"content-length")
        length = int(lengths[0]) if lengths else 0
        return self.body[:length], len(self.body) < length

    @property
    def in_http2(self) -> bool:
        """Whether it can be put in HTTP/2: a plain path, one Host, a body that is as long as it says."""
        names = {name.lower() for name, _ in self.headers}
        lengths = self.values(b"content-length")
        return (
            self.head[0].endswith(b" HTTP/1.1")
            and self.target.startswith(b"/")
            and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", self.method) is not None
            and self.method != "CONNECT"
            and len(self.values(b"host")) == 1
            and not names & {b"transfer-encoding", b"upgrade", b"expect", b"te"}
            and all(re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name in names)
            and lengths in ([], [b"%d" % len(self.body)])
        )


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size = re.fullmatch(rb"([0-9A-Fa-f]+)(;.*)?", line)
        if not end or size is None:
            return body, True
        length = int(size[1], 16)
        if not length:
            return body, False
        body += data[:length]
        if data[length : length + 2] != b"\r\n":
            return body, True
        data = data[length + 2 :]


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


def _fact(facts: Facts, name: str) -> str:
    if name.startswith("header "):
        return str(facts.get("headers", {}).get(name.removeprefix("header ")))
    return str(facts.get(name))


def refused(answer: Answer) -> bool:
    """Tell whether an answer is a server's refusal."""
    return answer.status == 0 or 400 <= answer.status < 500 or answer.status in (501, 505)


def check(expected: Expected, answer: Answer, facts: Facts, base: str = "") -> None:
    """See that an answer is the one that is due, apart from what the app tells and logs.

    The names in braces that a text or a header may have: ``{base}``; ``{scheme}`` and ``{client}``, as handed over, and
    ``{server}``, the authority by the server's own name.
    """
    names = {
        "base": base,
        "scheme": facts["scheme"],
        "client": facts["client"] or "",
        "server": _authority(facts["server"], facts["scheme"]),
    }
    assert answer.status in expected.status, f"{answer.status}: {answer.body[:500]!r}"
    if answer.status == 0:
        return
    assert expected.closes is None or answer.closed_with in expected.closes, answer.closed_with
    assert answer.complete is expected.complete
    for name, value in expected.headers.items():
        values = [value] if isinstance(value, str) else value
        assert [found for known, found in answer.headers if known == name] == [_filled(item, names) for item in values]
    for name in expected.without:
        assert answer.header(name) is None
    if expected.text is not None:
        assert answer.body == _filled(expected.text, names).encode()
    if expected.json is not None:
        assert json.loads(answer.body) == _filled_in(expected.json, names)
    if expected.size is not None:
        assert len(answer.body) == expected.size
    if expected.contains is not None:
        assert _filled(expected.contains, names) in answer.text
    whole = "\n".join(f"{name}: {value}" for name, value in answer.headers) + answer.body.decode("latin-1")
    for text in (*expected.lacks, "Traceback", "a secret of the"):
        assert text not in whole
    assert not any(name.startswith("x-evil") for name, _ in answer.headers)


def _filled_in(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        # JSON has a value that TOML lacks.
        return None if value == "{null}" else _filled(value, names)
    if isinstance(value, list):
        return [_filled_in(item, names) for item in value]
    if isinstance(value, dict):
        return {key: _filled_in(item, names) for key, item in value.items()}
    return value


def _authority(server: str | None, scheme: str) -> str:
    name, _, port = (server or "").rpartition(":")
    if not name or "/" in name or not port.isdecimal():
        return "localhost"
    return name if port == {"https": "443", "wss": "443"}.get(scheme, "80") else f"{name}:{port}"


# Reading the files


def _known(of: type[Any], table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a table whose keys are all fields of a class, and whose lists are tuples."""
    unknown = table.keys() - {item.name for item in fields(of)}
    if unknown:
        raise ValueError(f"{where}: no such keys: {', '.join(sorted(unknown))}")
    return {key: tuple(value) if isinstance(value, list) and key != "json" else value for key, value in table.items()}


def _expected(table: Mapping[str, Any], where: str) -> Expected:
    values = _known(Expected, table, where)
    values["reports"] = tuple(_filled_in(report, {}) for report in values.get("reports", ()))
    for name in ("status", "closes"):
        if isinstance(values.get(name), int):
            values[name] = (values[name],)
    return Expected(**values)


def _bytes(parts: Any, where: str) -> bytes:
    data = b""
    for part in [parts] if isinstance(parts, str) else parts:
        if isinstance(part, str):
            data += part.encode("latin-1")
        elif part.keys() == {"repeat", "times"}:
            data += part["repeat"].encode("latin-1") * part["times"]
        else:
            raise ValueError(f"{where}: a part of a body is a text, or what to repeat and how many times, not {part}")
    return data


def _lines(lines: list[Any], where: str) -> tuple[str, ...]:
    return tuple(_bytes(line, where).decode("latin-1") for line in lines)


def _case(table: dict[str, Any], where: str) -> Case:
    where = f"{where}: {table.get('name')}"
    values = _known(Case, table, where)
    values["answer"] = _expected(table["answer"], where)
    for name in ("body", "frames"):
        values[name] = _bytes(table.get(name, ""), where)
    values["handed_over"] = tuple(
        (item["when"], _expected(item["answer"], where)) for item in table.get("handed_over", ())
    )
    values["head"] = _lines(table["head"], where)
    if "beside" in values:
        beside = values["beside"]
        if beside.keys() - {"body"} != {"head", "times"}:
            raise ValueError(f"{where}: what others send has a head, times, and maybe a body")
        values["beside"] = {
            "head": _lines(beside["head"], where),
            "body": _bytes(beside.get("body", ""), where),
            "times": beside["times"],
        }
    if values.get("then", "reads") not in ("reads", "half-closes", "leaves"):
        raise ValueError(f"{where}: a client reads, half-closes or leaves")
    return Case(**values)


def _in_colours(case: Case) -> Iterable[Case]:
    """Yield a case for each colour of handler, if it leaves that open."""
    if "{colour}" not in case.head[0]:
        yield case
        return
    for colour in COLOURS:

        def filled(value: Any, colour: str = colour) -> Any:
            if isinstance(value, str):
                return value.replace("{colour}", colour)
            if isinstance(value, Expected):
                return replace(value, **{item.name: filled(getattr(value, item.name)) for item in fields(value)})
            if isinstance(value, tuple | list):
                return type(value)(filled(item) for item in value)
            if isinstance(value, Mapping):
                return {key: filled(item) for key, item in value.items()}
            return value

        yield replace(
            case,
            name=f"{case.name} ({colour})",
            head=filled(case.head),
            body=case.body.replace(b"{colour}", colour.encode()),
            beside=filled(case.beside),
            answer=filled(case.answer),
            handed_over=filled(case.handed_over),
        )


def _read() -> tuple[Case, ...]:
    cases: list[Case] = []
    for path in sorted(FOLDER.glob("*.toml")):
        if path.name != "rows.toml":
            for table in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
                cases += _in_colours(_case(table, path.name))
    return tuple(cases)


CASES: tuple[Case, ...] = _read()

ROWS: tuple[dict[str, Any], ...] = tuple(tomllib.loads((FOLDER / "rows.toml").read_text(encoding="utf-8"))["row"])
"""The kinds of bad input: a title, the input, the answer, and tests that are no cases."""
