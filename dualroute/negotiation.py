"""Content negotiation: what of what is on offer a client likes best (RFC 9110 section 12.5).

Where a client says nothing about it, it takes anything, and the first of the offers is the best.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["best_encoding", "best_language", "best_media_type", "single_spaced"]

_SPACES = re.compile(r"\s{2,}")


def single_spaced(header: str) -> str:
    """Return a header with one space in place of several, which mean no more than one between its parts.

    Werkzeug's patterns take time that grows with the square of how many there are in a row.
    """
    return _SPACES.sub(" ", header)


def _parsed(header: str | None, kind: str) -> Any:
    """Return a header as Werkzeug's `Accept` of a kind, or None where there is nothing in it."""
    if header is None or not header.strip():
        return None
    from werkzeug.datastructures import accept
    from werkzeug.http import parse_accept_header

    return parse_accept_header(single_spaced(header), getattr(accept, kind))


def best_media_type(header: str | None, media_types: Iterable[str]) -> str | None:
    """Return the best of some media types by an Accept header; None where none will do.

    Raises ValueError for an offer that is no media type.
    """
    offers = list(media_types)
    for offer in offers:
        kind, slash, rest = offer.partition("/")
        if not slash or not kind or not rest:
            raise ValueError(f"{offer!r} is no media type such as 'text/html'")
    accepted = _parsed(header, "MIMEAccept")
    if accepted is None:
        return offers[0] if offers else None
    best: str | None = accepted.best_match(offers)
    return best


def best_language(header: str | None, languages: Iterable[str]) -> str | None:
    """Return the best of some languages by an Accept-Language header; None where none will do.

    A language does for one that is more or less specific: ``en`` for ``en-GB`` and the other way round.
    """
    offers = list(languages)
    accepted = _parsed(header, "LanguageAccept")
    if accepted is None:
        return offers[0] if offers else None
    best: str | None = accepted.best_match(offers)
    return best


def best_encoding(header: str | None, encodings: Iterable[str]) -> str | None:
    """Return the best of some content codings by an Accept-Encoding header; None for none of them.

    A client that says nothing gets the content as it is.  So does one that likes ``identity`` better than the codings.
    """
    accepted = _parsed(header, "Accept")
    if accepted is None:
        return None
    plain = accepted.quality("identity") if any(name.lower() == "identity" for name, _ in accepted) else 0
    offers = [offer for offer in encodings if accepted.quality(offer) >= plain]
    best: str | None = accepted.best_match(offers)
    return best
