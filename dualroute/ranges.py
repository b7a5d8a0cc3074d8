"""Byte ranges: what a Range header asks for, and how more than one are sent (RFC 9110 section 14).

What is malformed, in an unknown unit or too much is as good as no Range at all: the whole is sent.  Ranges that overlap
or touch are sent as one, in the order of the file, so that an answer is never longer than the file and what surrounds
the parts.
"""

from __future__ import annotations

import os
import re

__all__ = ["MAX_RANGES", "Part", "RangeNotSatisfiable", "multipart", "parse_ranges"]

MAX_RANGES = 100
"""How many ranges a request may ask for before it gets the whole."""

_RANGE = re.compile(r"([0-9]+)[ \t]*-[ \t]*([0-9]*)|-[ \t]*([0-9]+)", re.ASCII)

Part = bytes | tuple[int, int]
"""A piece of a body: some bytes, or where in the whole they are: the first, and the one behind the last."""


class RangeNotSatisfiable(Exception):
    """None of the ranges asked for has a byte of the whole in it."""


def parse_ranges(header: str, size: int, max_ranges: int = MAX_RANGES) -> list[tuple[int, int]] | None:
    """Return the ranges to send, each with the byte behind its last, or None for the whole.

    Args:
        header: the value of a Range header.
        size: how many bytes there are; of none there are no ranges.
        max_ranges: how many may be asked for.

    Raises RangeNotSatisfiable where all of them begin behind the end.
    """
    unit, equals, listed = header.partition("=")
    if not equals or unit.strip().lower() != "bytes" or not size or listed.count(",") >= max_ranges:
        return None
    ranges: list[tuple[int, int]] = []
    asked = False
    for item in listed.split(","):
        text = item.strip(" \t")
        if not text:  # a list may have empty elements (section 5.6.1.2)
            continue
        match = _RANGE.fullmatch(text)
        if match is None:
            return None
        asked = True
        first, last, suffix = match.groups()
        if suffix is not None:
            if length := _number(suffix):
                ranges.append((max(size - length, 0), size))
            continue
        start, stop = _number(first), _number(last) + 1 if last else size
        if stop <= start and last:
            return None
        if start < size:
            ranges.append((start, min(stop, size)))
    if not asked:
        return None
    if not ranges:
        raise RangeNotSatisfiable
    return _joined(ranges)


def _number(digits: str) -> int:
    # No file has so many bytes that more digits would matter, and int() refuses thousands of them.
    return int(digits) if len(digits) <= 18 else int(digits.lstrip("0")[:19] or "0")


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    ranges.sort()
    joined = ranges[:1]
    for start, stop in ranges[1:]:
        if start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], stop)
        else:
            joined.append((start, stop))
    return joined


def multipart(ranges: list[tuple[int, int]], size: int, media_type: str) -> tuple[list[Part], int, str]:
    """Return several ranges as one body (section 14.6): its parts, its length, its Content-Type.

    Args:
        ranges: the ranges.
        size: how many bytes there are in all.
        media_type: the Content-Type of the whole.
    """
    boundary = os.urandom(16).hex()
    parts: list[Part] = []
    length = 0
    lead = ""
    for start, stop in ranges:
        head = (
            f"{lead}--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n\r\n"
        ).encode("latin-1")
        parts += [head, (start, stop)]
        length += len(head) + stop - start
        lead = "\r\n"
    end = f"\r\n--{boundary}--\r\n".encode("ascii")
    return [*parts, end], length + len(end), f"multipart/byteranges; boundary={boundary}"
