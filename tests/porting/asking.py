"""What is asked of an application, and what was answered, in a form that can be compared with another one's answers."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx

__all__ = ["GENERAL", "Answer", "Difference", "Script", "Visitor", "differing"]

# What a server adds, or decides by itself.
_SERVERS_OWN = ("connection", "date", "keep-alive", "server", "transfer-encoding")

# Lists whose order says nothing.
_SETS = (
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "allow",
    "vary",
)


@dataclass(frozen=True)
class Answer:
    """An answer: its status, its body and all its headers but those that are the server's own.

    The address that was asked is ``{base}`` in it, so that answers of two servers can be the same.
    """

    asked: str
    facts: dict[str, Any]

    def __getitem__(self, fact: str) -> Any:
        return self.facts.get(fact)


@dataclass(frozen=True, eq=False)
class Difference:
    """Where ours answers otherwise than Starlette, and means to.

    Args:
        reason: why.
        facts: what is different: "status", "body", or the name of a header.
        holds: tells of Starlette's answer and ours whether this is the difference between them.
        asked: the method and the path that it is about; all where it is None.
    """

    reason: str
    facts: Sequence[str]
    holds: Callable[[Answer, Answer], bool]
    asked: str | None = None

    def explains(self, name: str, theirs: Answer, ours: Answer) -> bool:
        """Tell whether a fact is different for this reason."""
        return name in self.facts and self.asked in (None, ours.asked) and self.holds(theirs, ours)


GENERAL = (
    Difference(
        "An answer always has a Content-Type, since PEP 3333's validator wants one.",
        ["content-type"],
        lambda theirs, ours: (
            (theirs["content-type"], ours["content-type"], ours["body"]) == (None, "text/plain; charset=utf-8", b"")
        ),
    ),
    Difference(
        "OPTIONS is always answered, so Allow lists it.",
        ["allow"],
        lambda theirs, ours: ours["allow"] == sorted({"OPTIONS", *theirs["allow"]}),
    ),
)
"""What is different for every application."""


class Visitor:
    """Asks an application, and notes the answers.

    Args:
        client: an httpx client of it, which follows no redirects.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.base = str(client.base_url).rstrip("/")
        self.answers: list[Answer] = []

    def __call__(self, method: str, path: str, status: int | None, *texts: str, **options: Any) -> httpx.Response:
        """Ask, note the answer and return it.  Its status is to be `status`, if any, with these texts in its body."""
        answer = self.client.request(method, path, **options)
        text = self._anywhere(answer.text)
        assert status in (None, answer.status_code), f"{method} {path}: {answer.status_code}\n{text[:2000]}"
        for expected in texts:
            assert expected in text, f"{method} {path}: {expected!r} is not in\n{text[:2000]}"
        self.answers.append(Answer(f"{method} {path}", self._facts(answer)))
        return answer

    def get(self, path: str, status: int | None = 200, *texts: str, **options: Any) -> httpx.Response:
        return self("GET", path, status, *texts, **options)

    def post(self, path: str, status: int | None, *texts: str, **options: Any) -> httpx.Response:
        return self("POST", path, status, *texts, **options)

    def _facts(self, answer: httpx.Response) -> dict[str, Any]:
        facts: dict[str, Any] = {
            name: self._anywhere(value) for name, value in answer.headers.items() if name not in _SERVERS_OWN
        }
        for name in _SETS:
            if name in facts:
                facts[name] = sorted(item.strip() for item in facts[name].split(","))
        if "etag" in facts:
            facts["etag"] = "W/" if facts["etag"].startswith("W/") else "strong"
        if "content-length" in facts:
            facts["content-length"] = "told"  # it goes with the address; httpx has seen that it is right
        if "location" in facts:
            # What a relative one is relative to is for a client to know (RFC 9110 section 10.2.2).
            facts["location"] = self._anywhere(str(answer.url.join(answer.headers["location"])))
        if "set-cookie" in facts:
            facts["set-cookie"] = [_cookie(line) for line in answer.headers.get_list("set-cookie")]
        facts["status"] = answer.status_code
        facts["body"] = answer.content.replace(self.base.encode(), b"{base}")
        return facts

    def _anywhere(self, text: str) -> str:
        """Return a text without the address that was asked, which may be quoted in it."""
        return text.replace(self.base, "{base}").replace(quote(self.base, safe=""), "{base}")


def _cookie(line: str) -> dict[str, Any]:
    """Return the name, the value and the attributes of a cookie."""
    pair, *attributes = line.split(";")
    name, _, value = pair.partition("=")
    told: dict[str, Any] = {"name": name, "value": value}
    if value.count(".") == 2:  # a session, signed with the time in it
        told["value"] = json.loads(b64decode(value.partition(".")[0]))
    for attribute in attributes:
        key, _, value = attribute.strip().partition("=")
        told[key.lower()] = value.lower()
    if told.get("max-age") == "0" or "expires" in told:
        # It is deleted, whatever stands there else (RFC 6265 section 5.3).
        assert told.get("max-age") == "0" or parsedate_to_datetime(told["expires"]).year < 2000
        for key in ("value", "max-age", "expires"):
            told.pop(key, None)
        told["deleted"] = True
    return told


Script: TypeAlias = Callable[[Visitor], None]


def differing(
    theirs: Sequence[Answer], ours: Sequence[Answer], known: Sequence[Difference]
) -> tuple[list[str], set[Difference]]:
    """Compare what a script was answered by Starlette and by ours.

    Return what is different for none of the known reasons, as lines to read, and those of the reasons that were needed.
    """
    assert [answer.asked for answer in theirs] == [answer.asked for answer in ours]
    unexplained, needed = [], set()
    for one, other in zip(theirs, ours, strict=True):
        for name in sorted(one.facts.keys() | other.facts.keys()):
            if one[name] == other[name]:
                continue
            reasons = [difference for difference in known if difference.explains(name, one, other)]
            needed.update(reasons)
            if not reasons:
                unexplained.append(f"{one.asked}: {name}:\n  {one[name]!r}\n  {other[name]!r}")
    return unexplained, needed
