"""The URLs of the Django project.

Those of `like`, `quotes` and `quote` were moved (see main.py).  They stay until no ``{% url %}`` of a template names
them.
"""

from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from migrate_django import views

urlpatterns = [
    path("", require_safe(views.home), name="home"),
    path("name/", require_POST(views.name), name="name"),
    path("newest/", require_safe(views.newest), name="newest"),
    path("like/", require_POST(views.like), name="like"),
    path("quotes/", require_safe(views.quotes), name="quotes"),
    path("quotes/<int:number>/", views.quote, name="quote"),
]
