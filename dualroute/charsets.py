"""The charsets that a client may name.

They are listed, because Python has more codecs than text has encodings: some take time that grows with the square of
the text (punycode), and it remembers each name that it was asked for and does not know.
"""

from __future__ import annotations

__all__ = ["UTF_8", "codec_for"]

UTF_8 = "utf-8"

_CODECS: dict[str, str] = {
    "ascii": "ascii",
    "latin-1": "iso8859-1",
    "latin1": "iso8859-1",
    "us-ascii": "ascii",
    "utf8": UTF_8,
    "x-sjis": "shift_jis",
}
_CODECS.update({f"iso-8859-{number}": f"iso8859-{number}" for number in range(1, 17) if number != 12})
_CODECS.update({f"{prefix}125{number}": f"cp125{number}" for number in range(9) for prefix in ("windows-", "cp")})
_CODECS.update(
    (name, name)
    for name in (
        *(UTF_8, "utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be"),
        *("koi8-r", "koi8-u", "gb2312", "gbk", "gb18030", "big5", "big5-hkscs", "shift-jis", "euc-jp", "euc-kr"),
        *("cp866", "cp874", "windows-31j", "windows-874", "tis-620", "iso-2022-jp"),
    )
)
_CODECS["windows-31j"] = "cp932"
_CODECS["windows-874"] = "cp874"


def codec_for(charset: str) -> str | None:
    """Return the name of Python's codec for a charset, or None for one that is not known."""
    return _CODECS.get(charset.strip().lower().replace("_", "-"))
