"""Sessions, passwords and permissions, middleware and websockets of a club: under Starlette, and ported."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tests.porting.asking import GENERAL, Difference, Script, Visitor
from tests.porting.conftest import Compare
from tests.porting.sides import STARLETTE, Closed, Side, Talk
from tests.servers.launching import eventually

APP = "club"

DIFFERENCES = (
    *GENERAL,
    Difference(
        "An origin that is not allowed is told nothing.",
        ["access-control-allow-credentials", "access-control-expose-headers"],
        lambda theirs, ours: theirs["access-control-allow-origin"] is ours["access-control-allow-origin"] is None,
        asked="GET /",
    ),
    Difference(
        "Nothing is compressed only to tell how long it would be.",
        ["content-length"],
        lambda theirs, ours: theirs["content-encoding"] == ours["content-encoding"] == "gzip",
        asked="HEAD /minutes/",
    ),
)

ADA = {"authorization": "Basic YWRhOmVuZ2luZQ=="}
GRACE = {"authorization": "Basic Z3JhY2U6bW90aA=="}


def sessions(visit: Visitor) -> None:
    visit.get("/", 200, "Hello, stranger")
    turned = visit.get("/profile?tab=1", 303)
    assert turned.headers["location"] == f"{visit.base}/login?{urlencode({'next': f'{visit.base}/profile?tab=1'})}"
    visit.get("/login?next=/profile", 200, "next=/profile")
    visit.post("/login", 403, "Try again", data={"name": "ada", "password": "wrong"})
    visit.post("/login?next=/profile", 303, data={"name": "ada", "password": "engine"})
    visit.get("/profile", 200, '{"name":"Ada","scopes":["member"]}')
    visit.get("/visits", 200, '{"visits":2,')
    visit.get("/visits", 200, '{"visits":3,')
    visit.get("/", 200, "Hello, Ada (member:ada)")
    visit.get("/treasury", 403, "Forbidden")
    visit.get("/vault", 404, "Not Found")
    visit.get("/logout", 405)
    visit.post("/logout", 303)
    visit.get("/", 200, "Hello, stranger")
    visit.get("/", 200, "Hello, stranger", headers={"cookie": "club=eyJtZW1iZXIiOiAiYWRhIn0=.forged.forged"})


def passwords(visit: Visitor) -> None:
    visit.get("/profile", 200, '{"name":"Grace","scopes":["member","board"]}', headers=GRACE)
    visit.get("/treasury", 200, "42 pounds", headers=GRACE)
    visit.get("/treasury", 403, headers=ADA)
    visit.get("/vault", 200, "a moth", headers=GRACE)
    refused = visit.get("/", 401, "Wrong password for ada", headers={"authorization": "Basic YWRhOm1vdGg="})
    assert refused.headers["www-authenticate"] == 'Basic realm="club"'
    visit.get("/nowhere", 401, "can't be read", headers={"authorization": "Basic !"})
    visit.get("/", 200, "Hello, stranger", headers={"authorization": "Bearer x"})


def pictures(visit: Visitor) -> None:
    picture = bytes(range(250)) * 1200
    files = {"picture": ("ada.png", picture, "image/png")}
    visit.get("/pictures/ada", 404, "no picture")
    visit.post("/pictures/ada", 403, files=files)
    visit.post("/pictures/ada", 201, '{"name":"ada.png","size":300000}', files=files, headers=ADA)
    shown = visit.get("/pictures/ada")
    assert (shown.content == picture, shown.headers["content-type"]) == (True, "image/png")
    visit("HEAD", "/pictures/ada", 200)
    visit.post("/pictures/ada", 400, "a picture is a file", data={"picture": "none"}, headers=ADA)
    visit("DELETE", "/pictures/ada", 403, headers=ADA)
    visit("DELETE", "/pictures/ada", 204, headers=GRACE)
    visit.get("/pictures/ada", 404)
    visit("PUT", "/pictures/ada", 405, headers=ADA)


def letters(visit: Visitor) -> None:
    letter = {"to": "grace", "text": "See you on Tuesday"}
    visit.post("/letters", 403, json=letter)
    visit.post("/letters", 202, '{"posted":true}', json=letter, headers=ADA)
    eventually(lambda: "Tuesday" in visit.client.get("/outbox").text, "the letter is in the outbox")


def origins(visit: Visitor) -> None:
    friend = {"origin": "https://friends.test"}
    seen = visit.get("/", 200, headers=friend)
    assert seen.headers["access-control-allow-origin"] == "https://friends.test"
    visit.get("/", 200, headers={"origin": "https://x.club.test"})
    visit.get("/", 200, headers={"origin": "https://elsewhere.test"})
    visit.get("/nowhere", 404, headers=friend)
    visit.get("/", 200, headers={**friend, "cookie": "a=1"})
    asking = {**friend, "access-control-request-method": "POST"}
    visit("OPTIONS", "/letters", 200, headers=asking)
    visit("OPTIONS", "/letters", 200, headers={**asking, "access-control-request-headers": "x-letter, content-type"})
    visit("OPTIONS", "/letters", 400, headers={**asking, "access-control-request-headers": "x-other"})
    visit("OPTIONS", "/letters", 400, headers={**asking, "access-control-request-method": "DELETE"})
    visit("OPTIONS", "/letters", 400, headers={**asking, "origin": "https://elsewhere.test"})
    visit.get("/", 400, "Invalid host header", headers={"host": "elsewhere.test"})
    visit.get("/", 200, headers={"host": "www.club.test:1"})


def compression(visit: Visitor) -> None:
    minutes = visit.get("/minutes/", 200, "The chair opened the meeting.", headers={"accept-encoding": "gzip"})
    assert minutes.headers["content-encoding"] == "gzip"
    plain = visit.get("/minutes/", 200, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    read = visit.get("/minutes/read", 200, "59. The chair read on.", headers={"accept-encoding": "br, gzip;q=0.5"})
    assert read.headers["content-encoding"] == "gzip"
    small = visit.get("/", 200, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers
    visit("HEAD", "/minutes/", 200, headers={"accept-encoding": "gzip"})


SCRIPTS = (sessions, passwords, pictures, letters, origins, compression)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_the_club_answers_as_under_starlette(compare: Compare, script: Script) -> None:
    compare(script)


def test_each_difference_that_is_explained_is_there(side: Side, compare: Compare) -> None:
    needed = set[Difference]().union(*map(compare, SCRIPTS))
    assert needed == (set() if side.name == STARLETTE else set(DIFFERENCES))


def has_websockets(side: Side) -> bool:
    """Tell whether there are websockets; where there are none, see that they are refused as documented."""
    if not side.websockets:
        assert side.refused("/echo") == side.refused("/chat/tea") == 501
    return side.websockets


def told(talk: Talk) -> object:
    received = talk.receive()
    assert isinstance(received, str), received
    return json.loads(received)


def test_members_talk_in_a_room(side: Side) -> None:
    if not has_websockets(side):
        return
    with side.talk("/chat/tea", ADA, ["chat", "other"]) as ada:
        assert ada.subprotocol == "chat"
        assert ada.receive() == '{"joined":"Ada","there":1}'
        with side.talk("/chat/tea", GRACE) as grace:
            assert grace.subprotocol is None
            assert told(ada) == told(grace) == {"joined": "Grace", "there": 2}
            ada.send('"Tee für zwei?"')
            assert ada.receive() == grace.receive() == '{"from":"Ada","says":"Tee für zwei?"}'
            grace.send('{"do": "leave"}')
            assert grace.receive() == Closed(4000, "left")
        assert told(ada)["gone"] == "Grace"  # type: ignore[index]  # it is a dict
        ada.send("no json")
        closed = ada.receive()
        assert isinstance(closed, Closed)
        assert closed.code == 1003  # ours gives a reason too


def test_a_websocket_is_for_members(side: Side) -> None:
    if not has_websockets(side):
        return
    assert side.refused("/echo") == 403
    assert side.refused("/chat/tea") == 403
    # Where the server can send a status, ours sends the one that a request would have.
    assert side.refused("/nowhere") == (403 if side.name == STARLETTE else 404)
    with side.talk("/echo?loud=1", ADA) as talk:
        assert talk.receive() == '{"path":"/echo","loud":"1"}'
        talk.send("hello")
        assert talk.receive() == "HELLO"
        talk.send("fail")
        assert talk.receive() == Closed(4001, "as you wish")


def test_a_websocket_has_the_session_of_its_browser(side: Side) -> None:
    with side.client() as client:
        signed_in = client.post("/login", data={"name": "ada", "password": "engine"})
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        if not has_websockets(side):
            return
        with side.talk("/echo", {"cookie": cookie}) as talk:
            assert talk.receive() == '{"path":"/echo","loud":null}'
            talk.close(4321)
        eventually(lambda: "echo ended with 4321" in client.get("/outbox").text, "the application knows the close code")


def test_bytes_go_both_ways(side: Side) -> None:
    if not has_websockets(side):
        return
    with side.talk("/count") as talk:
        for data in (b"", b"abc", bytes(40_000)):
            talk.send(data)
            assert talk.receive() == len(data).to_bytes(2, "big")
