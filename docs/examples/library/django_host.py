"""Django, by either of its handlers: gunicorn library.django_host:wsgi, uvicorn library.django_host:asgi."""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from dualroute import DualRoute, Mount
from library.shop import status


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"the shop")


urlpatterns = [path("", home)]
settings.configure(SECRET_KEY="change me", ALLOWED_HOSTS=["127.0.0.1", "localhost"], ROOT_URLCONF=__name__)

wsgi = DualRoute([Mount("/status", app=status)], fallback=get_wsgi_application())
asgi = DualRoute([Mount("/status", app=status)], fallback=get_asgi_application())
