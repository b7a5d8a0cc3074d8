"""A Flask shop on its way to dualroute: what was moved is answered by dualroute, and the rest by Flask as before.

    dualroute run docs/examples/migrate_flask.py              serve it, by uvicorn and by gunicorn at once
    dualroute routes --legacy docs/examples/migrate_flask.py  print what was moved, and what is left

It needs Flask: ``python -m pip install flask``.  Both servers answer alike; the websocket is on uvicorn's side only.
"""

import asyncio

from flask import Flask, abort, flash, jsonify, redirect, render_template_string, session, url_for
from werkzeug.wrappers import Response as FlaskResponse

from dualroute import DualRoute, HTTPException, JSONResponse, Request, Route, SyncRequest, WebSocket, WebSocketRoute

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
"""


@legacy.get("/")
def home() -> str:
    return render_template_string(PAGE, products=PRODUCTS, cart=[PRODUCTS[key] for key in session.get("cart", [])])


@legacy.post("/cart/<int:product_id>")
def buy(product_id: int) -> FlaskResponse:
    if product_id not in PRODUCTS:
        abort(404)
    session["cart"] = [*session.get("cart", []), product_id]
    flash(f"{PRODUCTS[product_id]} is in your cart.")
    return redirect(url_for("home"))


@legacy.get("/cart/empty")
def empty() -> FlaskResponse:
    session.clear()
    return redirect(url_for("home"))


# These two were moved.  Flask isn't asked for them any more; they stay until no `url_for` of a template names them.


@legacy.get("/products")
def products() -> FlaskResponse:
    return jsonify(PRODUCTS)


@legacy.get("/products/<int:product_id>")
def product(product_id: int) -> FlaskResponse:
    return jsonify(name=PRODUCTS[product_id])


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


# What Flask never had.


async def search(websocket: WebSocket) -> None:
    """Answer whatever is typed with the products that match."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_json([name for name in PRODUCTS.values() if text.lower() in name.lower()])


app = DualRoute(
    routes=[
        Route("/products", moved_products),
        Route("/products/{product_id:int}", moved_product, name="product"),
        WebSocketRoute("/search", search),
    ],
    fallback=legacy,
)
