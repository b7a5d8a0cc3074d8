"""What browsers ask of a cookie before they take it: broken here, a rule is an error where the cookie is set.

The rules are those of RFC 6265bis (draft-ietf-httpbis-rfc6265bis, sections 4.1.3 and 5.7); browsers follow them by
dropping the cookie without a word.
"""

from __future__ import annotations

__all__ = ["require_acceptable"]

# By prefix, in lower case, as browsers compare it: whether the cookie must be for one host alone, and be hidden from
# scripts.  All of them must be secure.
_PREFIXES = {
    "__host-http-": (True, True),
    "__host-": (True, False),
    "__http-": (False, True),
    "__secure-": (False, False),
}


def require_acceptable(
    key: str,
    *,
    path: str | None,
    domain: str | None,
    secure: bool,
    httponly: bool,
    samesite: str | None,
) -> None:
    """Raise ValueError for a cookie that every browser would drop."""
    if samesite is not None and samesite.lower() == "none" and not secure:
        raise ValueError(f"cookie {key!r} has samesite='none', which browsers take with secure=True only")
    for prefix, (one_host, hidden) in _PREFIXES.items():
        if not key.lower().startswith(prefix):
            continue
        shown = key[: len(prefix)]
        if not secure:
            raise ValueError(f"cookie {key!r}: browsers take a name that starts with {shown} with secure=True only")
        if one_host and (domain is not None or path != "/"):
            raise ValueError(
                f"cookie {key!r}: browsers take a name that starts with {shown} with path='/' and no domain only,"
                f" not with path={path!r} and domain={domain!r}"
            )
        if hidden and not httponly:
            raise ValueError(f"cookie {key!r}: browsers take a name that starts with {shown} with httponly=True only")
        return
