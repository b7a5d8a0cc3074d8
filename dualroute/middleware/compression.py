"""Compressed responses: zstd, br and gzip, whichever the client likes best (RFC 9110 section 12.5.3).

A body that comes piece by piece is compressed piece by piece, each flushed, so that a stream of events stays one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Generator, Sequence
from typing import TYPE_CHECKING, Any

from dualroute.encoders import Encoder
from dualroute.exchange import Call
from dualroute.responses import Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["EXCLUDED_CONTENT_TYPES", "CompressionMiddleware", "preferred_encoding"]

EXCLUDED_CONTENT_TYPES: tuple[str, ...] = (
    "application/gzip",
    "application/grpc",
    "application/x-gzip",
    "application/zip",
    "application/zstd",
    "audio/*",
    "font/woff",
    "font/woff2",
    "image/avif",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "video/*",
)
"""Media types whose content is compressed as it is, or framed (gRPC)."""

# The representation is what these are about, or they forbid to touch it.
_UNTOUCHABLE = frozenset(("content-encoding", "content-range", "content-digest", "digest", "repr-digest"))


class _GZip(Encoder):
    def __init__(self, level: int) -> None:
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def feed(self, piece: bytes) -> bytes:
        return self._compressor.compress(piece) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def flush(self) -> bytes:
        return self._compressor.flush()


class _Brotli(Encoder):
    def __init__(self, level: int) -> None:
        import brotli

        self._compressor = brotli.Compressor(quality=level)

    def feed(self, piece: bytes) -> bytes:
        data: bytes = self._compressor.process(piece) + self._compressor.flush()
        return data

    def flush(self) -> bytes:
        data: bytes = self._compressor.finish()
        return data


class _Zstd(Encoder):
    def __init__(self, level: int) -> None:
        from zstandard import COMPRESSOBJ_FLUSH_BLOCK, ZstdCompressor

        # 8 MiB is the most that a client has to keep (RFC 9659).
        self._compressor: Any = ZstdCompressor(level=level).compressobj()
        self._block: int = COMPRESSOBJ_FLUSH_BLOCK

    def feed(self, piece: bytes) -> bytes:
        data: bytes = self._compressor.compress(piece) + self._compressor.flush(self._block)
        return data

    def flush(self) -> bytes:
        data: bytes = self._compressor.flush()
        return data


class _Codec:
    """A content coding: how to make an encoder, the levels there are and the one that is taken, what it needs."""

    def __init__(self, make: Callable[[int], Encoder], levels: range, level: int, package: str = "") -> None:
        self.make = make
        self.levels = levels
        self.level = level
        self.package = package


_CODECS = {
    "zstd": _Codec(_Zstd, range(1, 20), 3, "zstandard"),
    "br": _Codec(_Brotli, range(12), 4, "brotli"),
    "gzip": _Codec(_GZip, range(10), 6),
}


class CompressionMiddleware:
    """Compresses the bodies of responses.

    Left as they are: small bodies, media types that are compressed themselves, parts (206), what has a
    Content-Encoding or a digest of its own, and what says ``Cache-Control: no-transform``.  A strong ETag becomes a
    weak one, since the same entity now has several forms.

    Args:
        minimum_size: how many bytes a body must have, where its size is known.
        encodings: the codings on offer, the one to prefer first; by default zstd and br where the packages for them
            are there (`zstandard`, `brotli`: the extra ``compression``), and gzip.
        levels: the level for each coding: 1 to 19 for zstd (3), 0 to 11 for br (4), 0 to 9 for gzip (6).
        thread_minimum_size: from how many bytes on a body that is there in full is compressed in a thread under ASGI.
        exclude_content_types: media types to leave as they are; ``image/*`` for all of a kind.

    Raises ValueError for a coding or a level that there is not, and RuntimeError where a package is missing.
    """

    def __init__(
        self,
        minimum_size: int = 500,
        encodings: Sequence[str] | None = None,
        *,
        levels: dict[str, int] | None = None,
        thread_minimum_size: int = 32_768,
        exclude_content_types: Collection[str] = EXCLUDED_CONTENT_TYPES,
    ) -> None:
        name = type(self).__name__
        if minimum_size < 0:
            raise ValueError(f"{name}: minimum_size is a number of bytes, not {minimum_size}")
        if isinstance(encodings, str) or isinstance(exclude_content_types, str):
            raise TypeError(f"{name}: encodings and exclude_content_types are lists of str")
        chosen = [coding for coding in _CODECS if _missing(coding) is None] if encodings is None else list(encodings)
        for coding in [*chosen, *(levels or {})]:
            if coding not in _CODECS:
                raise ValueError(f"{name}: {coding!r} is no coding that there is: {', '.join(_CODECS)}")
            if coding in chosen and (missing := _missing(coding)) is not None:
                raise RuntimeError(
                    f"{name}: {coding!r} needs the package {missing!r}: pip install 'dualroute[compression]'"
                )
        self._levels = {coding: codec.level for coding, codec in _CODECS.items()} | (levels or {})
        for coding, level in self._levels.items():
            known = _CODECS[coding].levels
            if level not in known:
                raise ValueError(f"{name}: the level of {coding!r} is {known[0]} to {known[-1]}, not {level!r}")
        self._minimum_size = minimum_size
        self._encodings = tuple(chosen)
        self._thread_minimum_size = thread_minimum_size
        self._excluded = frozenset(item.partition(";")[0].strip().lower() for item in exclude_content_types)

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response]:
        """Compress the response."""
        response: Response = yield connection
        if response.status_code == 304:
            # As the 200 in its place would have it (RFC 9110 section 15.4.5).
            response.headers.add_vary_header("Accept-Encoding")
            return response
        is_head = connection.method == "HEAD"
        if response.sent or not self._is_compressible(response, is_head):
            return response
        response.headers.add_vary_header("Accept-Encoding")
        accepted = connection.headers.get("accept-encoding")
        coding = preferred_encoding(accepted, self._encodings) if accepted else None
        if coding is None:
            return response
        headers = response.headers
        if is_head:
            del headers["content-length"]  # that of the compressed body is not known
        else:
            encoder = _CODECS[coding].make(self._levels[coding])
            if response.body_iterator is None and len(response.body) >= self._thread_minimum_size:
                yield Call(response.transform, encoder)
            else:
                response.transform(encoder)
        headers["content-encoding"] = coding
        # Its parts are those of the compressed form, of which nobody keeps any.
        del headers["accept-ranges"]
        etag = headers.get("etag")
        if etag is not None and not etag.startswith("W/"):
            headers["etag"] = f"W/{etag}"
        return response

    def _is_compressible(self, response: Response, is_head: bool) -> bool:
        if response.status_code < 200 or response.status_code in (204, 205, 206):
            return False
        media_type = ""
        length: str | None = None
        for name, value in response.headers.multi_items():
            if name == "content-type":
                media_type = value.partition(";")[0].strip().lower()
            elif name == "content-length":
                length = value
            elif name in _UNTOUCHABLE or (name == "cache-control" and "no-transform" in value.lower()):
                return False
        if media_type in self._excluded or f"{media_type.partition('/')[0]}/*" in self._excluded:
            return False
        if media_type.startswith("application/grpc+") and "application/grpc" in self._excluded:
            return False
        if response.body_iterator is None and (response.body or not is_head):
            return len(response.body) >= max(1, self._minimum_size)
        # A body that is yet to come, or, for HEAD, one that was left out.
        return (
            int(length) >= self._minimum_size if length and length.isdecimal() else response.body_iterator is not None
        )


def _missing(coding: str) -> str | None:
    """Return the package that a coding needs and that is not there."""
    package = _CODECS[coding].package
    if package:
        from importlib.util import find_spec

        return package if find_spec(package) is None else None
    return None


def preferred_encoding(accepted: str, offered: Sequence[str]) -> str | None:
    """Return the coding to answer with, or None for none (RFC 9110 section 12.5.3).

    Args:
        accepted: the Accept-Encoding header.
        offered: the codings there are, the one to prefer first among those that the client likes equally.
    """
    weights: dict[str, float] = {}
    for item in accepted.split(","):
        coding, *params = item.split(";")
        weight = 1.0
        for param in params:
            key, _, value = param.partition("=")
            if key.strip().lower() == "q":
                try:
                    weight = float(value) if len(value) < 10 else 0.0
                except ValueError:
                    weight = 0.0
        coding = coding.strip().lower()
        weights[{"x-gzip": "gzip"}.get(coding, coding)] = weight
    others = weights.get("*", 0.0)
    best = max(offered, key=lambda coding: weights.get(coding, others), default=None)
    if best is None:
        return None
    weight = weights.get(best, others)
    # What is not compressed is wanted by those alone who say so by name.
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None
