"""The parsers of forms by Starlette's names, for code that has the headers and a stream and no request.

Handlers call `request.form()`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import ClassVar

from dualroute.datastructures import Headers
from dualroute.exceptions import MultiPartException
from dualroute.formreaders import UrlEncodedReader
from dualroute.forms import form_data, form_limits, options_of, parse_async
from dualroute.uploads import FormData

__all__ = ["FormParser", "MultiPartException", "MultiPartParser"]


class FormParser:
    """Parses a body of type application/x-www-form-urlencoded.

    Args:
        headers: the headers of the request.
        stream: the pieces of its body.
        max_fields: how many fields it may have.
        max_part_size: how many bytes one of them may have.
    """

    def __init__(
        self,
        headers: Headers,
        stream: AsyncIterable[bytes],
        *,
        max_fields: float = 1000,
        max_part_size: float = 1024 * 1024,
    ) -> None:
        self.headers: Headers = headers
        self.stream: AsyncIterable[bytes] = stream
        self._limits = form_limits({"max_form_fields": max_fields, "max_part_size": max_part_size})

    async def parse(self) -> FormData:
        """Return the form.  Raises MultiPartException for a malformed one, and BodyTooLarge."""
        reader = UrlEncodedReader(self._limits, options_of(self.headers.get("content-type")).get("charset"))
        return form_data(await parse_async(reader, self.stream), has_files=False)


class MultiPartParser:
    """Parses a body of type multipart/form-data.

    Args:
        headers: the headers of the request.
        stream: the pieces of its body.
        max_files: how many files it may have.
        max_fields: how many text fields.
        max_part_size: how many bytes a text field may have.
    """

    spool_max_size: ClassVar[int] = 1024 * 1024
    """How many bytes a file may have to be held in memory."""

    def __init__(
        self,
        headers: Headers,
        stream: AsyncIterable[bytes],
        *,
        max_files: float = 1000,
        max_fields: float = 1000,
        max_part_size: float = 1024 * 1024,
    ) -> None:
        self.headers: Headers = headers
        self.stream: AsyncIterable[bytes] = stream
        self._limits = form_limits(
            {"max_form_files": max_files, "max_form_fields": max_fields, "max_part_size": max_part_size}
        )

    async def parse(self) -> FormData:
        """Return the form.  Raises MultiPartException for a malformed one, and BodyTooLarge."""
        from dualroute.multipart import MultipartReader

        options = options_of(self.headers.get("content-type"))
        reader = MultipartReader(
            options.get("boundary"), self._limits, options.get("charset"), spool_size=self.spool_max_size
        )
        return form_data(await parse_async(reader, self.stream))
