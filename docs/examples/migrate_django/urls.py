"""The URLs of the Django project.

Those of `quotes` and `quote` were moved (see main.py).  They stay until no ``{% url %}`` of a template names them.
"""

from django.urls import path

from migrate_django import views

urlpatterns = [
    path("", views.home, name="home"),
    path("like/", views.like, name="like"),
    path("quotes/", views.quotes, name="quotes"),
    path("quotes/<int:number>/", views.quote, name="quote"),
]
