"""A site of templates, static files and error pages, written for Starlette: under Starlette, and ported."""

from __future__ import annotations

from html import unescape
from typing import Any
from urllib.parse import unquote

import pytest

from tests.porting.asking import GENERAL, Answer, Difference, Script, Visitor
from tests.porting.conftest import Compare
from tests.porting.sides import STARLETTE, Side

APP = "garden"


def is_only_quoted(theirs: Answer, ours: Answer) -> bool:
    one, other = (unquote(unescape(answer["body"].decode())) for answer in (theirs, ours))
    return one == other


def is_only_utf_8(theirs: Answer, ours: Answer) -> bool:
    def recoded(cookie: dict[str, Any]) -> dict[str, Any]:
        return {**cookie, "value": cookie["value"].replace(r"\353", r"\303\253")}

    return [recoded(cookie) for cookie in theirs["set-cookie"]] == list(ours["set-cookie"])


def has_only_a_plain_name_more(theirs: Answer, ours: Answer) -> bool:
    one, other = (str(answer["content-disposition"]) for answer in (theirs, ours))
    return other.replace(' filename="Plan (gro_er).svg";', "") == one


DIFFERENCES = (
    *GENERAL,
    Difference("A URL is percent-encoded wherever it is shown.", ["body"], is_only_quoted),
    Difference("A cookie's value is UTF-8; Starlette's is Latin-1.", ["set-cookie"], is_only_utf_8),
    Difference(
        "A download has a name in ASCII too, for clients that know no other (RFC 6266 appendix D).",
        ["content-disposition"],
        has_only_a_plain_name_more,
    ),
    Difference(
        "A status of an error is told in words too.",
        ["body"],
        lambda theirs, ours: (ours["status"], theirs["body"], ours["body"]) == (416, b"", b"Range Not Satisfiable"),
    ),
    Difference(
        "OPTIONS is always answered.",
        ["status", "body"],
        lambda theirs, ours: (theirs["status"], ours["status"], ours["body"]) == (405, 200, b""),
        asked="OPTIONS /plants",
    ),
)


def pages(visit: Visitor) -> None:
    visit.get("/", 200, "Garden &amp; Orchard", 'href="{base}/static/site.css"', 'href="{base}/plants/rose"')
    visit("HEAD", "/", 200)
    visit.get("/plants", 200, "any season: 3")
    found = visit.get("/plants?season=autumn&season=winter&page=1", 200, "autumn or winter: 2", "Aster &lt;novae&gt;")
    assert found.headers["x-found"] == "2"
    visit.get("/plants?season=%C3%BC%20%26&x", 200, "ü &amp;: 0")
    visit.get("/plants/rose", 200, "<title>Rose | Garden &amp; Orchard</title>", "{base}/plants/rose/label.txt")
    visit.get("/plants/schneegl%C3%B6ckchen", 200, "Schneeglöckchen | Garden")
    label = visit.get("/plants/aster/label.txt", 200, "Aster <novae> (1 bed)")
    assert label.headers["content-type"] == "text/plain; charset=utf-8"


def errors(visit: Visitor) -> None:
    visit.get("/nowhere", 404, "Nothing grows here", "Not Found", "{base}/static/site.css")
    visit.get("/plants/oak", 404, "No plant is called oak.")
    visit.get("/plants/%3Cb%3E", 404, "No plant is called &lt;b&gt;.")
    visit.get("/error", 500, "Something broke", "RuntimeError", "{base}/static/site.css")
    visit.get("/error-in-def", 500, "ZeroDivisionError")
    closed = visit.get("/closed", 503, "Closed for the winter")
    assert closed.headers["retry-after"] == "86400"
    visit.post("/plants", 405)
    visit("OPTIONS", "/plants", None)
    visit("DELETE", "/visit", 405)
    visit("HEAD", "/nowhere", 404)
    visit.get("/plants/", 307)
    visit.get("/plants/?season=winter", 307)
    visit.get("/plants/rose/", 307)


def forms(visit: Visitor) -> None:
    visit.get("/visit", 200, '<form method="post" action="{base}/visit">')
    visit.post("/visit", 422, "Who are you?", data={"name": "", "plant": ["rose"]})
    visit.post("/visit", 422, 'value=""', content=b"")
    sent = visit.post("/visit", 303, data={"name": 'Ada & co; "x"', "plant": ["rose", "aster"]})
    assert sent.headers["location"] == f"{visit.base}/thanks"
    visit.get("/thanks", 200, 'Ada & co; "x", 2 plants')
    visit.get("/thanks", 200, "whoever you are")
    visit.post("/visit", 303, data={"name": "Zoë"}, files={"plant": ("rose.txt", b"a rose")})
    visit.get("/thanks", 200, "Zoë, 1 plants")


def facts(visit: Visitor) -> None:
    visit.get("/facts", 200, '"method":"GET"')
    visit.get("/facts?a=1&b=&a=%C3%BC+x&a", 200, headers={"x-garden": "one", "cookie": 'a=1; b="2 3"'})
    visit.post("/facts?a=%2F%3F", 200, headers={"x-garden": ""})


def files(visit: Visitor) -> None:
    style = visit.get("/static/site.css", 200, "firebrick")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    etag, modified = style.headers["etag"], style.headers["last-modified"]
    assert visit.get("/static/site.css", 304, headers={"if-none-match": etag}).content == b""
    visit.get("/static/site.css", 304, headers={"if-none-match": f'"other", W/{etag}'})
    visit.get("/static/site.css", 200, headers={"if-none-match": '"other"'})
    visit.get("/static/site.css", 304, headers={"if-modified-since": modified})
    visit.get("/static/site.css", 200, headers={"if-modified-since": "Thu, 01 Jan 1998 00:00:00 GMT"})
    assert visit.get("/static/site.css", 206, headers={"range": "bytes=0-3"}).content == b"body"
    visit.get("/static/site.css", 206, headers={"range": "bytes=-4", "if-range": etag})
    visit.get("/static/site.css", 200, headers={"range": "bytes=-4", "if-range": '"other"'})
    visit.get("/static/site.css", 416, headers={"range": "bytes=9999-"})
    visit("HEAD", "/static/site.css", 200)
    visit.post("/static/site.css", 405)
    visit.get("/static/robots.txt", 200, "User-agent")
    visit.get("/static/", 404, "Nothing grows here")
    visit.get("/static/none.css", 404, "Nothing grows here")
    visit.get("/static/..%2Fgarden.py", 404)
    plan = visit.get("/plan", 200, "<svg")
    assert "filename*=utf-8''Plan%20%28gr%C3%B6%C3%9Fer%29.svg" in plan.headers["content-disposition"]
    moved = visit.get("/old-map", 301)
    assert moved.headers["location"] == f"{visit.base}/static/plan.svg"


def handbook(visit: Visitor) -> None:
    visit.get("/handbook/", 200, "<h1>Handbook</h1>")
    visit.get("/handbook", 307)
    visit.get("/handbook/pruning/", 200, "<h1>Pruning</h1>")
    visit.get("/handbook/pruning", 307)
    visit.get("/handbook/grafting", 404, "<h1>No such chapter</h1>")


def journal(visit: Visitor) -> None:
    visit.get("/journal/", 200, "{base}/journal/2024-02-29", "{base}/journal/a/b")
    visit.get("/journal", 307)
    visit.get("/journal/2024-02-29", 200, "29.02.2024: A leap day, and frost.")
    visit.get("/journal/2024-03-01", 404, "Nothing grows here")
    visit.get("/journal/a/b%20c.txt", 200, "nothing at 'a/b c.txt' below /journal")


SCRIPTS = (pages, errors, forms, facts, files, handbook, journal)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_the_site_answers_as_under_starlette(compare: Compare, script: Script) -> None:
    compare(script)


def test_each_difference_that_is_explained_is_there(side: Side, compare: Compare) -> None:
    needed = set[Difference]().union(*map(compare, SCRIPTS))
    assert needed == (set() if side.name == STARLETTE else set(DIFFERENCES))
