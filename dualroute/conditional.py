"""Conditional requests and ranges: which part of a response a client wants, if it wants one (RFC 9110 sections 13, 14).

The rules look at the headers of the request and at those of the response that it would get without conditions (its
ETag, its Last-Modified), so they are the same for a file and for any other response.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from dualroute.negotiation import single_spaced
from dualroute.ranges import MAX_RANGES, Part, RangeNotSatisfiable, multipart, parse_ranges

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.responses import Response

__all__ = ["etag_of", "make_conditional", "narrow"]

_CONDITIONS = frozenset(("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range"))
# What is about the content that a 304 has not: section 15.4.5 lists what it keeps.
_OF_CONTENT = frozenset(
    (
        "accept-ranges",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-range",
        "content-type",
    )
)


def narrow(
    response: Response, connection: HTTPConnection, size: int | None, max_ranges: int = MAX_RANGES
) -> list[Part] | None:
    """Have a response answer the conditions of a request.

    It becomes a 304, a 412, a 416 or a 206 where the request says so, all but the body of a 206, for which the parts
    are returned; for the others there are none, and None is returned where the response stays as it is.

    Only GET and HEAD have conditions here, since others have been acted on by now, and only GET has ranges (section
    14.2).

    Args:
        response: the response, with the headers that it has without conditions.
        connection: the request.
        size: how many bytes the whole body has; None for a response that is not sent in parts.
        max_ranges: how many ranges may be asked for.
    """
    if connection.method not in ("GET", "HEAD") or not 200 <= response.status_code < 300:
        return None
    asked: dict[str, str] = {}
    for name, value in connection.headers._list:
        if name in _CONDITIONS:
            asked[name] = value
    if not asked:
        return None
    etag = response.headers.get("etag")
    modified = response.headers.get("last-modified")
    status_code = _evaluate(asked, etag, modified)
    if status_code == 304:
        _become_not_modified(response)
        return []
    if status_code == 412:
        _become(response, 412, "Precondition Failed")
        return []
    if size is None or response.status_code != 200 or connection.method != "GET" or "range" not in asked:
        return None
    if "if-range" in asked and not _is_same(asked["if-range"].strip(), etag, modified):
        return None
    return _take_ranges(response, asked["range"], size, max_ranges)


def _take_ranges(response: Response, header: str, size: int, max_ranges: int) -> list[Part] | None:
    try:
        ranges = parse_ranges(header, size, max_ranges)
    except RangeNotSatisfiable:
        _become(response, 416, "Range Not Satisfiable")
        response.headers["content-range"] = f"bytes */{size}"
        return []
    if ranges is None:
        return None
    parts: list[Part]
    response.status_code = 206
    if len(ranges) == 1:
        start, stop = ranges[0]
        parts = [(start, stop)]
        length = stop - start
        response.headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    else:
        parts, length, media_type = multipart(ranges, size, response.headers.get("content-type", ""))
        response.headers["content-type"] = media_type
    response.headers["content-length"] = str(length)
    return parts


def _evaluate(asked: dict[str, str], etag: str | None, modified: str | None) -> int | None:
    """Return the status that the preconditions come to, in the order of section 13.2.2; None where they hold."""
    if "if-match" in asked:
        if not _matches(asked["if-match"], etag, strong=True):
            return 412
    elif "if-unmodified-since" in asked and _changed_since(asked["if-unmodified-since"], modified) is True:
        return 412
    if "if-none-match" in asked:
        if _matches(asked["if-none-match"], etag, strong=False):
            return 304
    elif "if-modified-since" in asked and _changed_since(asked["if-modified-since"], modified) is False:
        return 304
    return None


def _matches(header: str, etag: str | None, *, strong: bool) -> bool:
    """Tell whether an entity tag is among those in a header (section 8.8.3.2); ``*`` is any, and none as well."""
    header = header.strip()
    if header == "*":
        return True
    if etag is None:
        return False
    from werkzeug.http import parse_etags, unquote_etag

    tags = parse_etags(single_spaced(header))
    tag, is_weak = unquote_etag(etag)
    if strong:
        return not is_weak and tags.is_strong(tag)
    return tags.is_strong(tag) or tags.is_weak(tag)


def _is_same(if_range: str, etag: str | None, modified: str | None) -> bool:
    """Tell whether what a client has a part of is still the same (section 13.1.5)."""
    if if_range.startswith(('"', "W/")):
        return if_range == etag and not if_range.startswith("W/")
    return if_range == modified


def _changed_since(header: str, modified: str | None) -> bool | None:
    """Tell whether a date is later than the one in a header; None where either is none."""
    if modified is None:
        return None
    if header == modified:
        return False
    then, changed = _date(header), _date(modified)
    return None if then is None or changed is None else changed > then


def _date(text: str) -> datetime | None:
    from werkzeug.http import parse_date

    try:
        return parse_date(text)
    except (OverflowError, ValueError):
        return None


def _become_not_modified(response: Response) -> None:
    dropped = _OF_CONTENT
    if "etag" in response.headers:
        dropped = dropped | {"last-modified"}
    response.status_code = 304
    response.body = b""
    response.headers._list[:] = [header for header in response.headers._list if header[0] not in dropped]


def _become(response: Response, status_code: int, text: str) -> None:
    dropped = _OF_CONTENT | {"cache-control", "etag", "expires", "last-modified"}
    response.status_code = status_code
    response.body = text.encode("ascii")
    response.headers._list[:] = [
        *(header for header in response.headers._list if header[0] not in dropped),
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", str(len(response.body))),
    ]


def make_conditional(response: Response, connection: HTTPConnection, *, accept_ranges: bool = False) -> None:
    """Have a response that is there answer the conditions of a request: see `Response.make_conditional`."""
    whole = response.body
    body: Any = response.body_iterator
    in_parts = accept_ranges and body is None
    if in_parts:
        response.headers.setdefault("accept-ranges", "bytes")
    parts = narrow(response, connection, len(whole) if in_parts else None)
    if parts is None:
        return
    if parts:
        response.body = b"".join([part if isinstance(part, bytes) else whole[part[0] : part[1]] for part in parts])
    if body is not None:
        response.body_iterator = None
        if hasattr(body, "aclose"):

            async def aclose() -> None:
                await body.aclose()

            connection.closing.append(aclose)
        elif hasattr(body, "close"):
            connection.closing.append(body.close)


def etag_of(body: bytes) -> str:
    """Return an entity tag for some bytes, quoted."""
    from hashlib import blake2b

    return f'"{blake2b(body, digest_size=16).hexdigest()}"'
