"""A Django project in every place, by each of its two handlers, under a server of either protocol: always the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.frameworks.sites import TESTS, Site, Sites, same_url
from tests.servers.launching import eventually

PAYLOAD = bytes(range(256)) * 1000

_migrating = threading.Lock()


def migrated(folder: Path) -> None:
    """Put a database into a server's folder; the first one is made, the others are copies."""
    database = folder.parent / "migrated" / "db.sqlite3"
    with _migrating:
        if not database.exists():
            database.parent.mkdir()
            (database.parent / "tests").symlink_to(TESTS, target_is_directory=True)
            environ = {**os.environ, "DUALROUTE_TEST_FOLDER": str(database.parent)}
            program = "from tests.frameworks.django_app import prepare; prepare()"
            subprocess.run([sys.executable, "-c", program], cwd=database.parent, env=environ, check=True, timeout=100)
    shutil.copy(database, folder)


SITES = Sites("django_app", needs=("django",), flavours=("wsgi_", "asgi_"), prepare=migrated)


def test_a_view_knows_where_it_is(site: Site, client: httpx.Client) -> None:
    answer = client.get("/about/7/", params={"q": ["ü", "a b"]})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["number"], told["q"], told["path_info"]) == (7, ["ü", "a b"], "/about/7/")
    assert told["script_name"] == site.root
    assert told["path"] == f"{site.root}/about/7/"
    assert same_url(told["here"], f"{site.place.prefix}/about/7/")
    assert same_url(told["absolute"].partition("?")[0], f"{site.url}/about/7/")
    assert client.get("/").text == "the legacy index"


def test_an_async_view_asks_the_database(site: Site, client: httpx.Client) -> None:
    told = client.get("/about-async/7/").json()
    assert (told["number"], told["users"]) == (7, 1)
    assert same_url(told["here"], f"{site.place.prefix}/about-async/7/")


def test_django_appends_its_own_slash(site: Site, client: httpx.Client) -> None:
    answer = client.get("/about/7?q=1")
    assert answer.status_code == 301
    assert same_url(answer.headers["location"], f"{site.place.prefix}/about/7/?q=1")


def hidden_token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found is not None, page
    return found[1]


def test_a_form_is_posted_with_its_token_and_refused_without(site: Site, client: httpx.Client) -> None:
    page = client.get("/form/")
    fields = {"text": "größer", "csrfmiddlewaretoken": hidden_token(page.text)}
    answer = client.post("/form/", data=fields)
    assert answer.status_code == 302
    assert same_url(answer.headers["location"], f"{site.place.prefix}/form/")
    assert "<p>größer</p>" in client.get("/form/").text
    refused = client.post("/form/", data={"text": "x"})
    assert refused.status_code == 403
    assert "CSRF verification failed" in refused.text


def test_the_admin_is_logged_in_to_and_out_of(site: Site, client: httpx.Client) -> None:
    client.follow_redirects = True
    page = client.get("/admin/")
    assert page.url.path == f"{site.root}/admin/login/"
    assert same_url(page.url.params["next"], f"{site.place.prefix}/admin/")
    fields = {
        "username": "root",
        "password": "wrong",
        "csrfmiddlewaretoken": hidden_token(page.text),
        "next": page.url.params["next"],
    }
    wrong = client.post("/admin/login/", data=fields)
    assert "Please enter the correct" in wrong.text
    fields |= {"password": "secret", "csrfmiddlewaretoken": hidden_token(wrong.text)}
    index = client.post("/admin/login/", data=fields)
    assert same_url(str(index.url), f"{site.url}/admin/")
    assert "Site administration" in index.text
    users = client.get("/admin/auth/user/", params={"q": "root"})
    assert "root@example.org" in users.text
    change = client.get("/admin/auth/user/1/change/")
    assert same_url(str(change.url), f"{site.url}/admin/auth/user/1/change/")
    out = client.post("/admin/logout/", data={"csrfmiddlewaretoken": hidden_token(change.text)})
    assert "Log" in out.text
    assert "/admin/login/" in str(client.get("/admin/").url)


@pytest.mark.parametrize("folder", ["/static", "/files"], ids=["handler", "view"])
def test_the_admins_static_files_are_there(site: Site, client: httpx.Client, folder: str) -> None:
    url = f"{folder}/admin/css/base.css"
    answer = client.get(url)
    if folder == "/static" and site.root:
        # Django's static files handlers know no root path: they compare STATIC_URL with the whole path.
        assert answer.status_code == 404
        return
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/css")
    assert len(answer.content) == int(answer.headers["content-length"]) > 1000
    assert client.get(url, headers={"if-modified-since": answer.headers["last-modified"]}).status_code == 304
    assert client.get(f"{folder}/admin/css/none.css").status_code == 404


def test_sessions_live_in_the_database(client: httpx.Client) -> None:
    assert [client.get("/count/").json()["count"] for _ in range(3)] == [1, 2, 3]
    client.cookies.clear()
    assert client.get("/count/").json()["count"] == 1


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_file_is_uploaded(site: Site, client: httpx.Client, size: int, chunked: bool) -> None:
    request = client.build_request(
        "POST", "/upload/", files={"file": ("bücher.bin", b"x" * size)}, data={"note": "größer"}
    )
    if chunked:
        body = request.read()
        headers = {"content-type": request.headers["content-type"]}
        request = client.build_request("POST", "/upload/", content=iter([body[:100], body[100:]]), headers=headers)
    answer = client.send(request)
    if chunked and site.flavour == "asgi":
        # Django's form parser wants a Content-Length, which its ASGI handler hasn't got, by itself no more than here.
        assert answer.status_code == 500
    else:
        assert answer.json() == {"name": "bücher.bin", "size": size, "note": "größer"}


@pytest.mark.places("fallback", "straight")
def test_a_chunked_file_beyond_the_buffer_is_uploaded(site: Site, client: httpx.Client) -> None:
    request = client.build_request("POST", "/upload/", files={"file": ("a.bin", b"x" * 2_000_000)}, data={"note": ""})
    headers = {"content-type": request.headers["content-type"]}
    answer = client.post("/upload/", content=iter([request.read()]), headers=headers)
    if site.flavour == "asgi":
        # Django's own: without a Content-Length its ASGI handler finds no file in a form, under any server.
        assert answer.status_code == 500
    else:
        assert answer.json() == {"name": "a.bin", "size": 2_000_000, "note": ""}


@pytest.mark.parametrize("path", ["/stream/", "/stream-async/"])
def test_a_stream_comes_whole(site: Site, client: httpx.Client, token: str, path: str) -> None:
    assert client.get(path, params={"token": token}).text == "0\n1\n2\n3\n4\n"
    site.running.event("streamed", token=token)
    assert len(site.running.events("streamed", token=token)) == 1


def test_a_file_is_downloaded(client: httpx.Client) -> None:
    answer = client.get("/download/")
    assert answer.content == PAYLOAD
    assert answer.headers["content-length"] == str(len(PAYLOAD))
    assert 'filename="payload.bin"' in answer.headers["content-disposition"]


def test_each_request_is_finished_once(site: Site, client: httpx.Client) -> None:
    def finished() -> int:
        return len(site.running.events("request finished"))

    before = finished()
    for path in ("/", "/stream/", "/download/", "/boom/", "/nowhere"):
        client.get(path)
    eventually(lambda: finished() == before + 5, "each request is finished")


def test_the_error_pages_are_djangos(site: Site, client: httpx.Client) -> None:
    missing = client.get("/nowhere/")
    assert missing.status_code == 404
    assert "The requested resource was not found on this server." in missing.text
    boom = client.get("/boom/")
    assert boom.status_code == 500
    assert "<h1>Server Error (500)</h1>" in boom.text
    strange = client.get("/", headers={"host": "evil.test"})
    assert strange.status_code == 400


def test_head_has_no_body(client: httpx.Client) -> None:
    for path in ("/", "/stream/", "/download/", "/about-async/1/"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
