"""The site: every link leads somewhere, nothing is fetched from elsewhere, and the reference has each public name once.

It is what ``tox -e docs`` has built, or is built here.
"""

from __future__ import annotations

import html
import importlib
import inspect
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import DOCS, ROOT, pages

pytest.importorskip("sphinx", reason="the site is built by the dependency group docs")
pytest.importorskip("furo", reason="the site is built by the dependency group docs")
pytest.importorskip("myst_parser", reason="the site is built by the dependency group docs")

REPOSITORY = "https://github.com/dualroute/dualroute"

HOSTS = {
    "asgi.readthedocs.io": "the ASGI specification",
    "channels.readthedocs.io": "Channels, Django's websockets",
    "djangopackages.org": "what there is for Django",
    "docs.djangoproject.com": "Django's documentation",
    "docs.gunicorn.org": "gunicorn's documentation",
    "docs.python.org": "Python's documentation",
    "falcon.readthedocs.io": "Falcon's documentation",
    "fastapi.tiangolo.com": "FastAPI's documentation",
    "fetch.spec.whatwg.org": "the Fetch standard",
    "flask.palletsprojects.com": "Flask's documentation",
    "github.com": "this repository, and those of others",
    "gunicorn.org": "gunicorn's documentation",
    "html.spec.whatwg.org": "the HTML standard",
    "keepachangelog.com": "the format of CHANGELOG.md",
    "nginx.org": "nginx's documentation",
    "peps.python.org": "PEPs",
    "pradyunsg.me": "the author of the theme, named at the foot of each page",
    "pypi.org": "packages",
    "quart.palletsprojects.com": "Quart's documentation",
    "semver.org": "what version numbers mean",
    "starlette.dev": "Starlette's documentation",
    "uvicorn.dev": "uvicorn's documentation",
    "werkzeug.palletsprojects.com": "Werkzeug's documentation",
    "www.contributor-covenant.org": "the code of conduct",
    "www.iana.org": "the registry of status codes",
    "www.python-httpx.org": "httpx, which the test client is",
    "www.rfc-editor.org": "RFCs",
    "www.sphinx-doc.org": "what the site is built with, named at the foot of each page",
    "www.starlette.io": "Starlette's documentation",
    "www.tornadoweb.org": "Tornado's documentation",
}
"""Where links may lead to that the tests do not follow, and why."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = os.environ.get("DUALROUTE_TEST_SITE")
    if built:
        return Path(built)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-b", "html"]
    # Elsewhere than in the checkout, so that what is installed is documented.
    done = subprocess.run([*command, DOCS, folder / "html"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


# Links of the site


@dataclass
class Document(HTMLParser):
    """An HTML page: what can be linked to in it, where it leads, and what a browser fetches for it."""

    text: str
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        leads = tag == "a" or (tag == "link" and given.get("rel") in ("index", "search", "next", "prev"))
        if leads and "href" in given:
            self.links.append(given["href"])
        else:
            self.fetched.extend(given[name] for name in ("href", "src", "srcset", "poster", "data") if name in given)
        if tag == "form":
            self.links.append(given["action"])


@cache
def document(path: Path) -> Document:
    return Document(path.read_text("utf-8"))


def documents(site: Path) -> Iterator[tuple[Path, Document]]:
    for path in sorted(site.rglob("*.html")):
        yield path, document(path)


def wrong_with_external(url: str) -> str | None:
    """Return what is wrong with a link that leads out of the site, or None."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or re.search(r"\s", url):
        return "is no well-formed https URL"
    if parts.hostname not in HOSTS:
        return "leads to a host that is not listed in HOSTS"
    if url.startswith(f"{REPOSITORY}/blob/main/"):
        path = unquote(parts.path.removeprefix("/dualroute/dualroute/blob/main/"))
        return None if (ROOT / path).is_file() else f"leads to {path}, which is not in the repository"
    return None


def wrong_with_internal(link: str, page: Path, site: Path) -> str | None:
    """Return what is wrong with a link within the site, or None."""
    parts = urlsplit(link)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(site.resolve()):
        return "leads out of the site"
    if not target.is_file():
        return "leads to no file"
    if parts.fragment and unquote(parts.fragment) not in document(target).ids:
        return f"leads to no place in {target.name}"
    return None


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    site = site.resolve()
    wrong = []
    count = 0
    for page, read in documents(site):
        for link in {*read.links, *read.fetched}:
            if link.startswith(("data:", "#")) and (link in ("#", "#top") or link.startswith("data:")):
                continue
            count += 1
            is_external = bool(urlsplit(link).scheme or link.startswith("//"))
            told = wrong_with_external(link) if is_external else wrong_with_internal(link, page, site)
            if told is not None:
                wrong.append(f"{page.relative_to(site)}: {link} {told}")
    assert not wrong, "\n".join(wrong)
    assert count > 1000


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    wrong = [
        f"{page.relative_to(site)}: {link}"
        for page, read in documents(site)
        for link in read.fetched
        if not link.startswith("data:") and (urlsplit(link).scheme or link.startswith("//"))
    ]
    for path in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        named = re.findall(r"(?:url\(\s*|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)", path.read_text("utf-8"))
        wrong += [f"{path.relative_to(site)}: {link}" for link in named]
    assert not wrong, "\n".join(wrong)


def test_every_page_is_in_the_site_with_one_title(site: Path) -> None:
    for name in pages():
        if name.startswith("../"):
            continue
        text = (site / name).with_suffix(".html").read_text("utf-8")
        assert len(re.findall(r"<h1[ >]", text)) == 1, name


# Links as they stand on GitHub


@cache
def markdown(path: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the anchors of a Markdown file and where it leads."""
    from markdown_it import MarkdownIt

    anchors: Counter[str] = Counter()
    found: set[str] = set()
    links = []
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8"))
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            inline = tokens[at + 1].children or []
            text = "".join(part.content for part in inline if part.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            found.add(f"{slug}-{anchors[slug]}" if anchors[slug] else slug)
            anchors[slug] += 1
        for part in token.children or []:
            links += [str(part.attrs[name]) for name in ("href", "src") if name in part.attrs]
    return frozenset(found), tuple(links)


FILES = [*sorted(ROOT.glob("*.md")), *(DOCS / name for name in pages() if not name.startswith("../"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_file_work_on_github(path: Path) -> None:
    wrong = []
    for link in markdown(path)[1]:
        parts = urlsplit(link)
        if parts.scheme:
            told = wrong_with_external(link)
        else:
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            told = None
            if not target.is_relative_to(ROOT.resolve()) or not target.exists():
                told = "leads to nothing in the repository"
            elif parts.fragment and (target.suffix != ".md" or parts.fragment not in markdown(target)[0]):
                told = "leads to no heading"
        if told is not None:
            wrong.append(f"{link} {told}")
    assert not wrong, "\n".join(wrong)


def test_every_example_is_named_by_a_page() -> None:
    text = "".join((DOCS / name).read_text("utf-8") for name in pages())
    examples = [path.name for path in (DOCS / "examples").iterdir() if not path.name.startswith(("_", "."))]
    assert [name for name in examples if f"examples/{name}" not in text] == []


# The reference

PUBLIC = (
    "dualroute",
    "dualroute.applications",
    "dualroute.authentication",
    "dualroute.background",
    "dualroute.concurrency",
    "dualroute.config",
    "dualroute.convertors",
    "dualroute.datastructures",
    "dualroute.delegates",
    "dualroute.encoders",
    "dualroute.endpoints",
    "dualroute.exceptions",
    "dualroute.formparsers",
    "dualroute.inspection",
    "dualroute.limits",
    "dualroute.middleware",
    "dualroute.middleware.asgi",
    "dualroute.middleware.authentication",
    "dualroute.middleware.base",
    "dualroute.middleware.body_limit",
    "dualroute.middleware.compression",
    "dualroute.middleware.cors",
    "dualroute.middleware.errors",
    "dualroute.middleware.gzip",
    "dualroute.middleware.httpsredirect",
    "dualroute.middleware.opentelemetry",
    "dualroute.middleware.proxy_headers",
    "dualroute.middleware.rate_limit",
    "dualroute.middleware.request_id",
    "dualroute.middleware.sessions",
    "dualroute.middleware.trustedhost",
    "dualroute.middleware.wsgi",
    "dualroute.origins",
    "dualroute.pytest_plugin",
    "dualroute.requests",
    "dualroute.responses",
    "dualroute.routing",
    "dualroute.rules",
    "dualroute.schemas",
    "dualroute.sse",
    "dualroute.staticfiles",
    "dualroute.status",
    "dualroute.syncwebsockets",
    "dualroute.templating",
    "dualroute.testclient",
    "dualroute.types",
    "dualroute.websockets",
    "dualroute_asgi",
    "dualroute_wsgi",
    "dualroute_wsgi.gunicorn",
)
"""What users import from.  All other modules are how it works inside."""


def identity(module: str, name: str) -> tuple[str, str]:
    """Return where a name was defined, as far as its value tells: a class that two modules list is one thing."""
    value: Any = getattr(importlib.import_module(module), name)
    home = getattr(value, "__module__", None)
    if isinstance(home, str) and home.split(".")[0] in ("dualroute", "dualroute_asgi", "dualroute_wsgi"):
        return home, getattr(value, "__qualname__", name)
    return module, name


def documented(site: Path) -> list[tuple[str, str]]:
    """Return the module and the name of everything that the reference has an entry for, members left out."""
    data = (site / "objects.inv").read_bytes()
    lines = zlib.decompress(data.split(b"\n", 4)[4]).decode().splitlines()
    found = []
    for line in lines:
        name, kind, priority, *_ = line.split()
        # Those of a negative priority are other names of what has an entry.
        if kind in ("py:class", "py:data", "py:exception", "py:function") and int(priority) >= 0:
            module, _, own = name.rpartition(".")
            found.append((module, own))
    return found


def test_the_reference_has_every_public_name_once(site: Path) -> None:
    entries = documented(site)
    count = Counter(identity(module, name) for module, name in entries)
    public = {identity(module, name): f"{module}.{name}" for module in PUBLIC for name in names_of(module)}
    assert len(public) > 200
    assert [name for key, name in public.items() if count[key] == 0] == [], "they have no entry"
    assert [f"{module}.{name}" for module, name in entries if count[identity(module, name)] > 1] == []


def test_the_reference_has_names_that_can_be_imported(site: Path) -> None:
    wrong = [f"{module}.{name}" for module, name in documented(site) if name not in names_of(module)]
    assert wrong == []


def test_what_starlette_has_as_a_module_is_public_here() -> None:
    starlette = importlib.import_module("starlette")
    theirs, ours = (modules_in(package) for package in (starlette, importlib.import_module("dualroute")))
    assert sorted((theirs & ours) - set(PUBLIC)) == []


def modules_in(package: Any) -> set[str]:
    (folder,) = package.__path__
    names = {".".join(path.relative_to(folder).with_suffix("").parts) for path in Path(folder).rglob("[!_]*.py")}
    return {f"dualroute.{name}" for name in names}


def test_every_argument_of_a_class_is_told_of() -> None:
    silent = []
    for module in PUBLIC:
        for name in names_of(module):
            cls = getattr(importlib.import_module(module), name)
            if isinstance(cls, type) and "__init__" in vars(cls) and name not in MADE_BY_OTHERS:
                told = inspect.getdoc(cls) or ""
                arguments = list(inspect.signature(vars(cls)["__init__"]).parameters)[1:]
                silent += [
                    f"{name}({own})" for own in arguments if not re.search(rf"\b{own}\b", told) and own not in REFUSED
                ]
    assert silent == []


MADE_BY_OTHERS = ("RateLimitStore", "StartResponse", "Threads", "WebSocketTestSession")
"""Protocols, and what a user never makes."""

REFUSED = ("on_startup", "on_shutdown")
"""Arguments of Starlette's that are there to be refused by a sentence."""


@pytest.mark.parametrize("command", ["run", "routes", "match", "check", "completion"])
def test_the_reference_of_a_command_says_what_its_help_says(site: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dualroute", command, "--help"], cwd=site, capture_output=True, text=True, check=True
    )
    # What a page says in words, without the marks of HTML or the breaks of lines.
    text = re.sub(r"<[^>]+>", "", (site / "reference" / "command-line.html").read_text("utf-8"))
    said = "".join(html.unescape(text).split())
    for line in done.stdout.replace("`", "").partition("\n\n")[2].splitlines():
        if line.strip() not in ("positional arguments:", "options:") and "--help" not in line:
            for part in re.split(r" {2,}", line.strip()):
                assert "".join(part.split()) in said, line


def test_the_site_has_nothing_in_it_that_was_made_for_machines(site: Path) -> None:
    for path, read in documents(site):
        assert not re.search(r"TypeAliasForwardRef|&lt;object object|0x[0-9a-f]{8}", read.text), path.name


def names_of(module: str) -> list[str]:
    return list(importlib.import_module(module).__all__)
