"""What the routes that were moved share with the Django project: sessions, users, CSRF tokens and the database.

It is done by Django's own middleware, on a Django request that is made of ours.
"""

import io
from functools import partial
from typing import Any

from django.contrib.auth import get_user
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.functional import SimpleLazyObject

from dualroute import HTMLResponse, Response, SyncRequest
from dualroute.middleware.base import BaseHTTPMiddleware, SyncRequestResponseEndpoint


class SharedWithDjango(BaseHTTPMiddleware):
    """Has `request.session` and `request.user` be Django's, and refuses forms without a CSRF token as Django does."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        # HttpResponse stands for the view that they would call, and do not call here.
        self.sessions = SessionMiddleware(HttpResponse)
        self.csrf = CsrfViewMiddleware(HttpResponse)

    def dispatch(self, request: SyncRequest, call_next: SyncRequestResponseEndpoint) -> Response:
        # As Django does before and after a request; a `def` endpoint runs in this thread, which the connections are of.
        close_old_connections()
        try:
            return self.shared(request, call_next)
        finally:
            close_old_connections()

    def shared(self, request: SyncRequest, call_next: SyncRequestResponseEndpoint) -> Response:
        body = b"" if request.method in ("GET", "HEAD", "OPTIONS") else request.body()
        django_request: Any = ASGIRequest(dict(request.scope), io.BytesIO(body))
        self.sessions.process_request(django_request)
        self.csrf.process_request(django_request)
        refused: Any = self.csrf.process_view(django_request, None, (), {})
        if refused is not None:
            return HTMLResponse(refused.content, status_code=refused.status_code)
        request.attach("session", django_request.session)
        request.attach("user", SimpleLazyObject(partial(get_user, django_request)))
        response = call_next(request)
        saved = self.sessions.process_response(django_request, HttpResponse(status=response.status_code))
        for cookie in saved.cookies.values():
            response.headers.append("set-cookie", cookie.OutputString())
        if saved.has_header("Vary"):
            response.headers.add_vary_header("Cookie")
        return response
