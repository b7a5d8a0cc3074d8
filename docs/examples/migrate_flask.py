"""A Flask shop on its way to dualroute: what was moved is answered by dualroute, and the rest by Flask as before.

    dualroute run docs/examples/migrate_flask.py              serve it, by uvicorn and by gunicorn at once
    dualroute routes --legacy docs/examples/migrate_flask.py  print what was moved, and what is left

It needs Flask: ``python -m pip install flask``.  Both servers answer alike; the websocket is on uvicorn's side only.
"""

import asyncio
from typing import Any

from flask import Flask, abort, flash, jsonify, redirect, render_template_string, request, session, url_for
from werkzeug.test import create_environ
from werkzeug.wrappers import Response as FlaskResponse

from dualroute import (
    DualRoute,
    HTTPException,
    JSONResponse,
    RedirectResponse,
    Request,
    Response,
    Route,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.middleware import Middleware
from dualroute.middleware.base import BaseHTTPMiddleware, SyncRequestResponseEndpoint

PRODUCTS = {1: "Teapot", 2: "Tea cosy", 3: "Cup"}

# The legacy shop, as it always was.

legacy = Flask(__name__)
legacy.secret_key = "change me"

PAGE = """<!DOCTYPE html>
<title>Shop</title>
<h1>Shop</h1>
{% for message in get_flashed_messages() %}<p role="status">{{ message }}</p>{% endfor %}
<ul>
{% for id, name in products.items() %}
  <li><a href="{{ url_for('product', product_id=id) }}">{{ name }}</a>
    <form method="post" action="{{ url_for('buy', product_id=id) }}"><button>Buy</button></form></li>
{% endfor %}
</ul>
<p>In your cart: {{ cart|join(", ") or "nothing" }}. <a href="{{ url_for('empty') }}">Empty it</a></p>
{% if customer %}<p><a href="{{ url_for('account') }}">{{ customer }}</a></p>{% else %}
<form method="post" action="{{ url_for('login') }}"><input name="name"> <button>Log in</button></form>{% endif %}
"""


@legacy.get("/")
def home() -> str:
    cart = [PRODUCTS[key] for key in session.get("cart", [])]
    return render_template_string(PAGE, products=PRODUCTS, cart=cart, customer=session.get("customer"))


@legacy.post("/login")
def login() -> FlaskResponse:
    session["customer"] = request.form["name"]
    return redirect(url_for("home"))


@legacy.get("/cart/empty")
def empty() -> FlaskResponse:
    session.pop("cart", None)
    return redirect(url_for("home"))


# These four were moved.  Flask isn't asked for them any more; they stay until no `url_for` of a template names them.


@legacy.get("/products")
def products() -> FlaskResponse:
    return jsonify(PRODUCTS)


@legacy.get("/products/<int:product_id>")
def product(product_id: int) -> FlaskResponse:
    return jsonify(name=PRODUCTS[product_id])


@legacy.post("/cart/<int:product_id>")
def buy(product_id: int) -> FlaskResponse:
    if product_id not in PRODUCTS:
        abort(404)
    session["cart"] = [*session.get("cart", []), product_id]
    flash(f"{PRODUCTS[product_id]} is in your cart.")
    return redirect(url_for("home"))


@legacy.get("/account")
def account() -> FlaskResponse:
    if "customer" not in session:
        abort(401)
    return jsonify(customer=session["customer"], cart=session.get("cart", []))


# One session for both: who has logged in there is known here, and what is bought here is in the cart there.


class FlaskSession(BaseHTTPMiddleware):
    """Has `request.session` be the session of a Flask app, opened and saved by that app's own code.

    Args:
        app: what this is around, which `Middleware` fills in.
        flask_app: the Flask app.
    """

    def __init__(self, app: Any, flask_app: Flask) -> None:
        super().__init__(app)
        self.flask_app = flask_app

    def dispatch(self, request: SyncRequest, call_next: SyncRequestResponseEndpoint) -> Response:
        flask_app, interface = self.flask_app, self.flask_app.session_interface
        cookie = {"cookie": request.headers.get("cookie", "")}
        asked = flask_app.request_class(create_environ(request.path, str(request.base_url), headers=cookie))
        session = interface.open_session(flask_app, asked)
        if session is None:  # there is no secret key
            session = interface.make_null_session(flask_app)
        request.attach("session", session)
        response = call_next(request)
        if not interface.is_null_session(session):
            saved = flask_app.response_class()
            interface.save_session(flask_app, session, saved)
            for line in saved.headers.getlist("set-cookie"):
                response.headers.append("set-cookie", line)
            response.headers.add_vary_header("Cookie")
        return response


# What was moved.


def moved_products(request: SyncRequest) -> JSONResponse:
    links = {name: str(request.url_for("product", product_id=key)) for key, name in PRODUCTS.items()}
    return JSONResponse(links)


async def moved_product(request: Request, product_id: int) -> JSONResponse:
    """Ask two services at once, which the old view could only do one after the other."""
    if product_id not in PRODUCTS:
        raise HTTPException(404, f"There is no product {product_id}")
    stock, price = await asyncio.gather(ask("stock", product_id), ask("price", product_id))
    return JSONResponse({"name": PRODUCTS[product_id], "stock": stock, "price": price})


async def ask(service: str, product_id: int) -> int:
    """Stand for a request to another service."""
    await asyncio.sleep(0.01)
    return product_id * {"stock": 3, "price": 8}[service]


def moved_buy(request: SyncRequest, product_id: int) -> Response:
    if product_id not in PRODUCTS:
        raise HTTPException(404, f"There is no product {product_id}")
    request.session["cart"] = [*request.session.get("cart", []), product_id]
    # What Flask's `flash` does; the next page of either shows it.
    message = ("message", f"{PRODUCTS[product_id]} is in your cart.")
    request.session["_flashes"] = [*request.session.get("_flashes", []), message]
    return RedirectResponse(request.base_url, status_code=303)


async def moved_account(request: Request) -> Response:
    if "customer" not in request.session:
        raise HTTPException(401, "Log in first")
    return JSONResponse({"customer": request.session["customer"], "cart": request.session.get("cart", [])})


# What Flask never had.


async def search(websocket: WebSocket) -> None:
    """Answer whatever is typed with the products that match."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_json([name for name in PRODUCTS.values() if text.lower() in name.lower()])


with_session = [Middleware(FlaskSession, flask_app=legacy)]

app = DualRoute(
    routes=[
        Route("/products", moved_products),
        Route("/products/{product_id:int}", moved_product, name="product"),
        Route("/cart/{product_id:int}", moved_buy, methods=["POST"], middleware=with_session),
        Route("/account", moved_account, middleware=with_session),
        WebSocketRoute("/search", search),
    ],
    fallback=legacy,
)
