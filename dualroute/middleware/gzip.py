"""Responses compressed by gzip, as Starlette's middleware of this name does."""

from __future__ import annotations

from collections.abc import Collection

from dualroute.middleware.compression import EXCLUDED_CONTENT_TYPES, CompressionMiddleware

__all__ = ["GZipMiddleware"]


class GZipMiddleware(CompressionMiddleware):
    """Compresses the bodies of responses by gzip: a `CompressionMiddleware` with that one coding.

    Args:
        minimum_size: how many bytes a body must have, where its size is known.
        compresslevel: 0 to 9; more is smaller and slower.
        thread_minimum_size: from how many bytes on a body that is there in full is compressed in a thread under ASGI.
        exclude_content_types: media types to leave as they are; ``image/*`` for all of a kind.

    Raises ValueError for a level that there is not.
    """

    def __init__(
        self,
        minimum_size: int = 500,
        compresslevel: int = 9,
        thread_minimum_size: int = 32_768,
        *,
        exclude_content_types: Collection[str] = EXCLUDED_CONTENT_TYPES,
    ) -> None:
        super().__init__(
            minimum_size,
            ("gzip",),
            levels={"gzip": compresslevel},
            thread_minimum_size=thread_minimum_size,
            exclude_content_types=exclude_content_types,
        )
