"""The views of the Django project."""

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
<p>You liked {{ likes }} so far.</p>
<form method="post" action="{% url 'like' %}">{% csrf_token %}<button>Like</button></form>
"""


def home(request: HttpRequest) -> HttpResponse:
    context = {"quotes": QUOTES, "likes": likes_of(request)}
    return HttpResponse(engines["django"].from_string(PAGE).render(context, request))


def like(request: HttpRequest) -> HttpResponse:
    response = HttpResponseRedirect(reverse("home"))
    if request.method == "POST":
        response.set_signed_cookie("likes", str(likes_of(request) + 1))
    return response


def likes_of(request: HttpRequest) -> int:
    return int(str(request.get_signed_cookie("likes", default=0)))


def quotes(request: HttpRequest) -> HttpResponse:
    return JsonResponse(QUOTES)


def quote(request: HttpRequest, number: int) -> HttpResponse:
    if number not in QUOTES:
        raise Http404
    return JsonResponse({"text": QUOTES[number]})
