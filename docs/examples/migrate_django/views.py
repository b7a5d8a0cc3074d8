"""The views of the Django project."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template import engines
from django.urls import reverse

QUOTES = {
    1: "Simple things should be simple, complex things should be possible.",
    2: "There are only two hard things: cache invalidation and naming things.",
}

PAGE = """<!DOCTYPE html>
<title>Quotes</title>
<h1>Quotes</h1>
<ul>
{% for number, text in quotes.items %}<li><a href="{% url 'quote' number %}">{{ text }}</a></li>
{% endfor %}</ul>
<p>{{ reader|default:"You" }} liked {{ likes }} so far.</p>
<form method="post" action="{% url 'like' %}">{% csrf_token %}<button>Like</button></form>
<form method="post" action="{% url 'name' %}">{% csrf_token %}<input name="name"> <button>That is me</button></form>
"""


def home(request: Any) -> HttpResponse:
    context = {
        "quotes": QUOTES,
        "likes": request.session.get("likes", 0),
        "reader": request.session.get("reader"),
    }
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


def name(request: Any) -> HttpResponse:
    request.session["reader"] = request.POST["name"]
    return HttpResponseRedirect(reverse("home"))


def newest(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(reverse("quote", args=[max(QUOTES)]))


# These three were moved: see main.py.


def like(request: Any) -> HttpResponse:
    request.session["likes"] = request.session.get("likes", 0) + 1
    return HttpResponseRedirect(reverse("home"))


def quotes(request: HttpRequest) -> HttpResponse:
    return JsonResponse(QUOTES)


def quote(request: HttpRequest, number: int) -> HttpResponse:
    if number not in QUOTES:
        raise Http404
    return JsonResponse({"text": QUOTES[number]})
