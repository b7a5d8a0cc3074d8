"""A Django project, and the objects by which dualroute serves it: by Django's one handler and by the other.

It has the `tests.frameworks.django_settings`.
"""

from __future__ import annotations

import os

from django.contrib.auth import get_user_model
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler, StaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

from dualroute import ASGIApp, WSGIApp
from tests.frameworks.placing import in_all_places

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.frameworks.django_settings"

wsgi_legacy = StaticFilesHandler(get_wsgi_application())
asgi_legacy = ASGIStaticFilesHandler(get_asgi_application())

wsgi_straight = WSGIApp(wsgi_legacy)
wsgi_app = in_all_places(wsgi_legacy)
asgi_straight = ASGIApp(asgi_legacy)
asgi_app = in_all_places(asgi_legacy)


def prepare() -> None:
    """Make the database, with an administrator in it."""
    call_command("migrate", verbosity=0)
    get_user_model().objects.create_superuser("root", "root@example.org", "secret")
