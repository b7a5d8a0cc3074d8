"""A Flask app in every place that it can have, under a server of either protocol: always the same app."""

from __future__ import annotations

import hashlib
import re

import httpx
import pytest

from tests.frameworks.sites import Site, Sites, same_url
from tests.servers.launching import eventually

SITES = Sites("flask_app", needs=("flask",))

PAYLOAD = bytes(range(256)) * 1200


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_view_knows_where_it_is(site: Site, client: httpx.Client) -> None:
    answer = client.get("/shop/items/7", params={"q": ["ü", "a b"]})
    assert answer.status_code == 200
    assert answer.headers["x-legacy"] == "flask"
    told = answer.json()
    assert told["id"] == 7
    assert told["script_root"] == site.root
    assert told["path"] == "/shop/items/7"
    assert told["query"] == {"q": ["ü", "a b"]}
    assert same_url(told["here"], f"{site.place.prefix}/shop/items/7")
    assert same_url(told["external"], f"{site.url}/")
    assert same_url(told["url"].partition("?")[0], f"{site.url}/shop/items/7")


def test_an_async_view_too(site: Site, client: httpx.Client) -> None:
    assert same_url(client.get("/async").json()["here"], f"{site.place.prefix}/async")


def test_the_index_is_below_the_mounts_slash(site: Site, client: httpx.Client) -> None:
    assert client.get("/").text == "the legacy index"
    if site.place.prefix:
        # No slash is added where a foreign app is the fallback, which may have that page.
        with site.at_the_host() as outside:
            assert outside.get(site.place.prefix).text == f"the legacy app has no {site.root}"


def test_flask_redirects_to_its_own_slash(site: Site, client: httpx.Client) -> None:
    answer = client.get("/shop/list?a=1")
    assert answer.status_code == 308
    assert same_url(answer.headers["location"], f"{site.url}/shop/list/?a=1")
    assert client.get("/shop/list", follow_redirects=True).text == "the list"


def test_paths_arrive_decoded_once(site: Site, client: httpx.Client) -> None:
    answer = client.get("/n%C3%B6/a%2520b%2Fc;d")
    assert answer.status_code == 404
    assert answer.text == "the legacy app has no /nö/a%20b/c;d"


def test_sessions_live_in_a_cookie(client: httpx.Client) -> None:
    assert [client.get("/count").json()["count"] for _ in range(3)] == [1, 2, 3]
    client.cookies.clear()
    assert client.get("/count").json()["count"] == 1


def test_flash_survives_its_redirect_and_no_more(site: Site, client: httpx.Client) -> None:
    answer = client.post("/say", data={"text": "grüß dich"})
    assert answer.status_code == 302
    assert same_url(answer.headers["location"], f"{site.place.prefix}/said")
    assert client.get("/said").text == "grüß dich"
    assert client.get("/said").text == ""


def test_a_file_is_uploaded(client: httpx.Client) -> None:
    data = PAYLOAD * 5
    answer = client.post("/upload", files={"file": ("bücher.bin", data, "x/y")}, data={"note": "größer"})
    assert answer.json() == {
        "name": "bücher.bin",
        "type": "x/y",
        "size": len(data),
        "sha": sha(data),
        "note": "größer",
    }


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_body_arrives_whole(client: httpx.Client, chunked: bool, size: int) -> None:
    data = (PAYLOAD * 10)[:size]
    content = iter([data[:1000], data[1000:]]) if chunked else data
    answer = client.put("/digest", content=content)
    assert answer.text == sha(data)


def test_json_and_no_body_at_all(client: httpx.Client) -> None:
    posted = client.post("/shop/only-post", json={"a": "ü"}).json()
    assert (posted["type"], posted["json"]) == ("application/json", {"a": "ü"})
    empty = client.post("/shop/only-post").json()
    assert (empty["type"], empty["json"]) == (None, None)


def test_a_file_is_downloaded(client: httpx.Client) -> None:
    answer = client.get("/download")
    assert answer.content == PAYLOAD
    assert answer.headers["content-length"] == str(len(PAYLOAD))
    assert "ladung%20%C3%BC.bin" in answer.headers["content-disposition"]
    head = client.head("/download")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(PAYLOAD)))
    assert client.get("/from-memory").content == PAYLOAD


def test_a_download_is_conditional(client: httpx.Client) -> None:
    first = client.get("/download")
    for condition in (
        {"if-none-match": first.headers["etag"]},
        {"if-modified-since": first.headers["last-modified"]},
    ):
        answer = client.get("/download", headers=condition)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]
    assert client.get("/download", headers={"if-none-match": '"other"'}).content == PAYLOAD


def test_a_download_has_ranges(client: httpx.Client) -> None:
    answer = client.get("/download", headers={"range": "bytes=1000-1999"})
    assert answer.status_code == 206
    assert answer.content == PAYLOAD[1000:2000]
    assert answer.headers["content-range"] == f"bytes 1000-1999/{len(PAYLOAD)}"
    last = client.get("/download", headers={"range": "bytes=-5"})
    assert (last.status_code, last.content) == (206, PAYLOAD[-5:])
    beyond = client.get("/download", headers={"range": f"bytes={len(PAYLOAD)}-"})
    assert beyond.status_code == 416


def test_teardown_runs_once(site: Site, client: httpx.Client, token: str) -> None:
    assert client.get("/count", params={"token": token}).status_code == 200
    assert site.running.event("teardown", token=token)["error"] == "NoneType"
    client.get("/")
    assert len(site.running.events("teardown", token=token)) == 1


def test_a_stream_keeps_its_context_and_is_closed_once(site: Site, client: httpx.Client, token: str) -> None:
    answer = client.get("/stream", params={"token": token})
    assert answer.text == "".join(f"{number} for {token}\n" for number in range(5))
    site.running.event("closed", token=token)
    client.get("/")
    # Flask itself tears the request down twice here.
    assert len(site.running.events("closed", token=token)) == 1


def test_head_of_a_stream_closes_it_as_well(site: Site, client: httpx.Client, token: str) -> None:
    assert client.head("/stream", params={"token": token}).content == b""
    site.running.event("closed", token=token)
    client.get("/")
    assert len(site.running.events("closed", token=token)) == 1


def test_a_stream_ends_when_its_client_has_gone(site: Site, client: httpx.Client, token: str) -> None:
    with client.stream("GET", "/endless", params={"token": token}) as answer:
        assert next(answer.iter_raw())[:1] == b"x"
    for kind in ("generator closed", "closed", "teardown"):
        site.running.event(kind, token=token)
        assert len(site.running.events(kind, token=token)) == 1


def test_a_stream_that_breaks_is_cut_and_closed(site: Site, client: httpx.Client, token: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/broken-stream", params={"token": token})
    site.running.event("closed", token=token)
    eventually(lambda: site.running.logged("in the middle"), "it is logged")
    assert len(site.running.events("closed", token=token)) == 1


def test_the_error_pages_are_flasks(site: Site, client: httpx.Client, token: str) -> None:
    missing = client.get("/nowhere")
    assert (missing.status_code, missing.text) == (404, "the legacy app has no /nowhere")
    teapot = client.get("/shop/teapot")
    assert (teapot.status_code, teapot.text) == (418, "the shop's teapot")
    boom = client.get("/boom", params={"token": token})
    assert boom.status_code == 500
    assert "<h1>Internal Server Error</h1>" in boom.text
    assert site.running.event("teardown", token=token)["error"] == "LookupError"
    assert re.search(r"LookupError: boom", site.running.output)


def test_methods_are_flasks(client: httpx.Client) -> None:
    wrong = client.get("/shop/only-post")
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
    assert wrong.headers["x-legacy"] == "flask"
    options = client.options("/shop/items/1")
    assert set(options.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_what_was_moved_is_dualroutes(site: Site, client: httpx.Client) -> None:
    with site.at_the_host() as outside:
        answer = outside.get("/moved")
    assert answer.status_code == (200 if site.place.name in ("fallback", "mount", "around", "deep") else 404)
    assert answer.headers.get("x-legacy") == (None if answer.status_code == 200 else "flask")


def test_a_websocket_handshake_is_a_request_that_flask_has_no_view_for(site: Site) -> None:
    assert site.refused("/nowhere") in (404, 403)


def test_the_middleware_is_around(site: Site, client: httpx.Client) -> None:
    expected = "passed" if site.place.name == "around" else None
    for path in ("/", "/stream", "/nowhere", "/download"):
        assert client.get(path, params={"token": "a"}).headers.get("x-around") == expected
