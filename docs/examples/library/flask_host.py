"""Flask: gunicorn library.flask_host:app."""

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from library.shop import status

app = Flask(__name__)


@app.get("/")
def home() -> str:
    return "the shop"


app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/status": status})  # type: ignore[method-assign]  # Flask's own way
