"""The views and URLs of a Django project as one finds them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.views import serve
from django.core.signals import request_finished
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template import engines
from django.urls import path, reverse

from tests.servers.apps import FOLDER, report

FORM = """<form method="post">{% csrf_token %}<input name="text"></form>
{% for message in messages %}<p>{{ message }}</p>{% endfor %}"""


def finished(sender: Any, **options: Any) -> None:
    report("request finished", sender=sender.__name__)


request_finished.connect(finished)


def index(request: Any) -> HttpResponse:
    return HttpResponse(b"the legacy index")


def about(request: Any, number: int) -> HttpResponse:
    return JsonResponse(
        {
            "number": number,
            "here": reverse("about", args=[number]),
            "absolute": request.build_absolute_uri(),
            "path": request.path,
            "path_info": request.path_info,
            "script_name": request.META.get("SCRIPT_NAME", ""),
            "q": request.GET.getlist("q"),
            "thread": threading.current_thread().name,
        }
    )


async def about_async(request: Any, number: int) -> HttpResponse:
    await asyncio.sleep(0)
    users = await get_user_model().objects.filter(username="root").acount()
    return JsonResponse({"number": number, "here": reverse("about-async", args=[number]), "users": users})


def form(request: Any) -> HttpResponse:
    if request.method == "POST":
        messages.info(request, request.POST["text"])
        return HttpResponseRedirect(reverse("form"))
    return HttpResponse(engines["django"].from_string(FORM).render({}, request))


def count(request: Any) -> HttpResponse:
    request.session["count"] = request.session.get("count", 0) + 1
    return JsonResponse({"count": request.session["count"]})


def upload(request: Any) -> HttpResponse:
    file = request.FILES["file"]
    size = sum(len(chunk) for chunk in file.chunks())
    return JsonResponse({"name": file.name, "size": size, "note": request.POST["note"]})


upload.csrf_exempt = True  # type: ignore[attr-defined]  # what Django's decorator of that name sets


def stream(request: Any) -> StreamingHttpResponse:
    def pieces() -> Iterator[str]:
        for number in range(5):
            yield f"{number}\n"
        report("streamed", token=request.GET.get("token"))

    return StreamingHttpResponse(pieces(), content_type="text/plain")


async def stream_async(request: Any) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(0)
            yield f"{number}\n"
        report("streamed", token=request.GET.get("token"))

    return StreamingHttpResponse(pieces(), content_type="text/plain")


def download(request: Any) -> FileResponse:
    return FileResponse(open(FOLDER / "payload.bin", "rb"), as_attachment=True)


def boom(request: Any) -> HttpResponse:
    raise LookupError("boom")


urlpatterns = [
    path("", index),
    path("about/<int:number>/", about, name="about"),
    path("about-async/<int:number>/", about_async, name="about-async"),
    path("form/", form, name="form"),
    path("count/", count),
    path("upload/", upload),
    path("stream/", stream),
    path("stream-async/", stream_async),
    path("download/", download),
    path("boom/", boom),
    path("admin/", admin.site.urls),
    path("files/<path:path>", serve, {"insecure": True}),
]

Path(FOLDER, "payload.bin").write_bytes(bytes(range(256)) * 1000)
