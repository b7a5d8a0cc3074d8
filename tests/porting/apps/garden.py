"""A botanical garden's site: templates, static files, a form, a journal in a mount, and pages for errors.

It is modelled on Starlette's example site and on its pages about templates, static files, routing and exceptions.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

HERE = Path(__file__).parent

PLANTS: dict[str, dict[str, Any]] = {
    "rose": {"title": "Rose", "beds": 4, "seasons": ["summer"]},
    "aster": {"title": "Aster <novae>", "beds": 1, "seasons": ["summer", "autumn"]},
    "schneeglöckchen": {"title": "Schneeglöckchen", "beds": 2, "seasons": ["winter"]},
}

ENTRIES = {
    datetime.date(2024, 2, 29): "A leap day, and frost.",
    datetime.date(2025, 7, 1): "The roses are early.",
}


class DateConvertor(Convertor[datetime.date]):
    regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}"

    def convert(self, value: str) -> datetime.date:
        return datetime.date.fromisoformat(value)

    def to_string(self, value: datetime.date) -> str:
        return value.isoformat()


register_url_convertor("date", DateConvertor())


def everywhere(request: Request) -> dict[str, Any]:
    return {"garden": "Garden & Orchard", "here": request.url.path}


templates = Jinja2Templates(directory=HERE / "templates", context_processors=[everywhere])
templates.env.filters["beds"] = lambda count: "1 bed" if count == 1 else f"{count} beds"


async def home(request: Request) -> Response:
    return templates.TemplateResponse(request, "home.html", {"plants": PLANTS})


def plants(request: Request) -> Response:
    seasons = request.query_params.getlist("season")
    found = {name: plant for name, plant in PLANTS.items() if not seasons or {*seasons} & {*plant["seasons"]}}
    wider = request.url.include_query_params(season="winter", page=2)
    context = {"plants": found, "seasons": seasons, "wider": wider, "all": request.url.remove_query_params("season")}
    return templates.TemplateResponse(request, "plants.html", context, headers={"x-found": str(len(found))})


def plant(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in PLANTS:
        raise HTTPException(status_code=404, detail=f"No plant is called {name}.")
    return templates.TemplateResponse(request, "plant.html", {"name": name, "plant": PLANTS[name]})


async def label(request: Request) -> Response:
    chosen = PLANTS[request.path_params["name"]]
    return templates.TemplateResponse(request, "label.txt", {"plant": chosen}, media_type="text/plain")


class Visit(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return templates.TemplateResponse(request, "visit.html", {"problem": None, "given": {}})

    async def post(self, request: Request) -> Response:
        async with request.form() as form:
            given = {key: str(value) for key, value in form.items()}
            plants_of_interest = [str(value) for value in form.getlist("plant")]
        if not given.get("name"):
            context = {"problem": "Who are you?", "given": given}
            return templates.TemplateResponse(request, "visit.html", context, status_code=422)
        response = RedirectResponse(request.url_for("thanks"), status_code=303)
        text = f"{given['name']}, {len(plants_of_interest)} plants"
        response.set_cookie("visitor", text, max_age=600, path="/thanks", httponly=True, samesite="lax")
        response.set_cookie("seen", "yes")
        return response


async def thanks(request: Request) -> Response:
    response = HTMLResponse(f"<p>Until soon: {request.cookies.get('visitor', 'whoever you are')}</p>")
    response.delete_cookie("visitor", path="/thanks", httponly=True, samesite="lax")
    return response


async def old_map(request: Request) -> Response:
    return RedirectResponse(request.url_for("static", path="/plan.svg"), status_code=301)


async def plan(request: Request) -> Response:
    return FileResponse(
        HERE / "static" / "plan.svg", filename="Plan (größer).svg", headers={"cache-control": "max-age=60"}
    )


async def facts(request: Request) -> Response:
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "same path": request["path"],
            "type": request["type"],
            "url": str(request.url),
            "base": str(request.base_url),
            "scheme": request.url.scheme,
            "query": request.query_params.multi_items(),
            "last": request.query_params.get("a"),
            "cookies": request.cookies,
            "header": request.headers.get("X-Garden"),
            "known": "x-garden" in request.headers,
            "client": request.client is not None and bool(request.client.host),
            "elsewhere": str(request.url.replace(scheme="https", hostname="garden.test", port=None, path="/x")),
            "app": str(request.app.url_path_for("plant", name="rose")),
            "user": request.get("user", "nobody"),
            "keys": sorted({"method", "path", "nothing"} & set(request.keys())),
        }
    )


async def fail(request: Request) -> Response:
    raise RuntimeError("the greenhouse is on fire")


def fail_in_def(request: Request) -> Response:
    return Response(str(1 // 0))


async def closed(request: Request) -> Response:
    raise HTTPException(503, "Closed for the winter", headers={"retry-after": "86400"})


async def journal(request: Request) -> Response:
    links = [str(request.url_for("journal:entry", day=day)) for day in ENTRIES]
    return JSONResponse({"entries": links, "files": str(request.url_for("journal:rest", rest="a/b c.txt"))})


async def entry(request: Request) -> Response:
    day: datetime.date = request.path_params["day"]
    if day not in ENTRIES:
        raise HTTPException(404)
    return PlainTextResponse(f"{day:%d.%m.%Y}: {ENTRIES[day]}")


async def rest(request: Request) -> Response:
    return PlainTextResponse(f"nothing at {request.path_params['rest']!r} below {request.scope['root_path']}")


async def not_found(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return templates.TemplateResponse(request, "404.html", {"detail": exc.detail}, status_code=404)


def server_error(request: Request, exc: Exception) -> Response:
    return templates.TemplateResponse(request, "500.html", {"kind": type(exc).__name__}, status_code=500)


app = Starlette(
    debug=False,
    routes=[
        Route("/", home, name="home"),
        Route("/plants", plants),
        Route("/plants/{name}", plant, name="plant"),
        Route("/plants/{name}/label.txt", label, name="label"),
        Route("/visit", Visit),
        Route("/thanks", thanks),
        Route("/old-map", old_map),
        Route("/plan", plan),
        Route("/facts", facts, methods=["GET", "POST"]),
        Route("/error", fail),
        Route("/error-in-def", fail_in_def),
        Route("/closed", closed),
        Mount(
            "/journal",
            name="journal",
            routes=[
                Route("/", journal),
                Route("/{day:date}", entry, name="entry"),
                Route("/{rest:path}", rest, name="rest"),
            ],
        ),
        Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
        Mount("/handbook", app=StaticFiles(directory=HERE / "handbook", html=True), name="handbook"),
    ],
    exception_handlers={404: not_found, 500: server_error},
)
