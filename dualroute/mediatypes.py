"""Media types by file name: one table, so that a file has the same type on every machine.

`mimetypes` reads what the system has lying about (``/etc/mime.types``, the registry), and its own list grows from one
Python to the next.  A program that serves further kinds of files adds to `MEDIA_TYPES`.
"""

from __future__ import annotations

import os

__all__ = ["MEDIA_TYPES", "guess_media_type"]

_TABLE = """
application/atom+xml: atom
application/epub+zip: epub
application/gzip: gz tgz
application/java-archive: jar
application/json: json map
application/ld+json: jsonld
application/manifest+json: webmanifest
application/msword: doc dot
application/octet-stream: bin dmg exe img iso msi so
application/pdf: pdf
application/pgp-signature: asc sig
application/postscript: ai eps ps
application/rss+xml: rss
application/rtf: rtf
application/sql: sql
application/toml: toml
application/vnd.android.package-archive: apk
application/vnd.apple.mpegurl: m3u8
application/vnd.debian.binary-package: deb
application/vnd.google-earth.kml+xml: kml
application/vnd.google-earth.kmz: kmz
application/vnd.ms-excel: xls
application/vnd.ms-fontobject: eot
application/vnd.ms-powerpoint: ppt
application/vnd.oasis.opendocument.graphics: odg
application/vnd.oasis.opendocument.presentation: odp
application/vnd.oasis.opendocument.spreadsheet: ods
application/vnd.oasis.opendocument.text: odt
application/vnd.openxmlformats-officedocument.presentationml.presentation: pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet: xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document: docx
application/vnd.rar: rar
application/vnd.sqlite3: sqlite sqlite3
application/wasm: wasm
application/x-7z-compressed: 7z
application/x-bzip2: bz2
application/x-rpm: rpm
application/x-sh: sh
application/x-tar: tar
application/x-x509-ca-cert: crt der pem
application/x-xz: xz
application/xhtml+xml: xhtml
application/xml: xml xsl xsd
application/yaml: yaml yml
application/zip: zip whl
application/zstd: zst
audio/aac: aac
audio/flac: flac
audio/midi: mid midi
audio/mp4: m4a
audio/mpeg: mp3
audio/ogg: oga ogg opus
audio/wav: wav
audio/webm: weba
font/collection: ttc
font/otf: otf
font/ttf: ttf
font/woff: woff
font/woff2: woff2
image/apng: apng
image/avif: avif
image/bmp: bmp
image/gif: gif
image/heic: heic
image/heif: heif
image/jpeg: jpg jpeg jpe jfif
image/jxl: jxl
image/png: png
image/svg+xml: svg
image/tiff: tif tiff
image/vnd.microsoft.icon: ico cur
image/webp: webp
message/rfc822: eml
model/gltf+json: gltf
model/gltf-binary: glb
model/obj: obj
model/stl: stl
text/cache-manifest: appcache
text/calendar: ics
text/css: css
text/csv: csv
text/html: html htm shtml
text/javascript: js mjs cjs
text/markdown: md markdown
text/plain: txt text log conf ini cfg c h
text/tab-separated-values: tsv
text/vcard: vcf
text/vtt: vtt
text/x-python: py
text/x-rst: rst
video/3gpp: 3gp
video/mp2t: ts
video/mp4: mp4 m4v
video/mpeg: mpeg mpg
video/ogg: ogv
video/quicktime: mov
video/webm: webm
video/x-matroska: mkv
video/x-msvideo: avi
"""

MEDIA_TYPES: dict[str, str] = {
    extension: media_type
    for media_type, _, extensions in (line.partition(": ") for line in _TABLE.split("\n") if line)
    for extension in extensions.split()
}
"""The media type of each file name extension, in lower case and without its dot."""


def guess_media_type(path: str | os.PathLike[str]) -> str | None:
    """Return the media type for the last extension of a file's name, or None where it is not known."""
    name = os.fspath(path).replace("\\", "/").rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return MEDIA_TYPES.get(extension.lower()) if dot and stem else None
