"""Templates: HTML from Jinja2 (the extra ``templates``), with the request and `url_for` at hand.

    templates = Jinja2Templates(directory="templates")

    def home(request):
        return templates.TemplateResponse(request, "home.html", {"name": "World"})

A template is rendered where the response is made, in a handler of either colour, on both protocols: that is work for
the processor alone, once the template has been read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from dualroute.callables import describe, is_async_callable
from dualroute.connection import HTTPConnection
from dualroute.responses import HTMLResponse

if TYPE_CHECKING:
    import jinja2

    from dualroute.background import BackgroundTask, BackgroundTasks
    from dualroute.datastructures import URL

__all__ = ["Jinja2Templates", "TemplateResponse"]

# What holds no HTML, by the end of its name.  Anything else is escaped: to escape too much shows, too little does not.
_PLAIN = ("txt", "text", "md", "csv", "json", "js", "css", "yaml", "yml", "toml", "ini", "cfg", "conf", "sql")
_ENGINES = ("j2", "jinja", "jinja2")


class TemplateResponse(HTMLResponse):
    """A rendered template; `Jinja2Templates.TemplateResponse` makes them.

    Args:
        template: the Jinja2 template.
        context: what it is rendered with.
        status_code: the HTTP status.
        headers: further headers.
        media_type: the media type; ``text/html`` where it is None.
        background: what to run after the response was sent.

    `template` and `context` are kept, for tests.
    """

    def __init__(
        self,
        template: jinja2.Template,
        context: dict[str, Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
    ) -> None:
        self.template: jinja2.Template = template
        self.context: dict[str, Any] = context
        super().__init__(template.render(context), status_code, headers, media_type, background)


class Jinja2Templates:
    """The templates of a directory, or of a Jinja2 environment.

    Args:
        directory: where the templates are; with several directories, the first that has a name counts.
        context_processors: functions (`def`) that are given the request and return what every template is to know;
            what they return comes before what a handler passes.
        env: a Jinja2 environment, in place of `directory`.

    In an environment made from `directory`, values are escaped in every template, except in those whose name ends like
    that of a file without markup (``.txt``, ``.json`` and so on; ``.txt.j2`` too).

    Raises ImportError without jinja2, TypeError for a context processor or an environment that is `async`, and
    ValueError where there is no such directory.
    """

    def __init__(
        self,
        directory: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
        *,
        context_processors: Sequence[Callable[[Any], Mapping[str, Any]]] | None = None,
        env: jinja2.Environment | None = None,
    ) -> None:
        if (directory is None or directory == "") == (env is None):
            raise TypeError("Jinja2Templates takes either directory= or env=")
        try:
            import jinja2
        except ImportError as error:
            raise ImportError('Jinja2Templates needs jinja2: pip install "dualroute[templates]"') from error
        self.context_processors: list[Callable[[Any], Mapping[str, Any]]] = list(context_processors or ())
        for processor in self.context_processors:
            if not callable(processor) or is_async_callable(processor):
                shown = describe(processor) if callable(processor) else repr(processor)
                raise TypeError(
                    f"Jinja2Templates: a context processor is a plain `def` that returns a dict, which {shown} is not;"
                    " load what needs to be awaited in the handler, or in middleware into request.state"
                )
        if env is None:
            assert directory is not None, "there is one of both"
            env = jinja2.Environment(loader=jinja2.FileSystemLoader(_existing(directory)), autoescape=_escapes)
        elif env.is_async:
            raise TypeError(
                "Jinja2Templates takes no environment with enable_async=True: templates are rendered where the response"
                " is made, without waiting for anything; make the environment without it"
            )
        self.env: jinja2.Environment = env

        @jinja2.pass_context
        def url_for(context: Mapping[str, Any], name: str, /, **path_params: Any) -> URL:
            request = context.get("request")
            if not isinstance(request, HTTPConnection):
                raise RuntimeError("url_for in a template needs `request` in its context (import it `with context`)")
            return request.url_for(name, **path_params)

        env.globals.setdefault("url_for", url_for)

    def get_template(self, name: str) -> jinja2.Template:
        """Return the template called `name`.  Raises jinja2.TemplateNotFound."""
        return self.env.get_template(name)

    def TemplateResponse(
        self,
        request: HTTPConnection,
        name: str,
        context: Mapping[str, Any] | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
    ) -> TemplateResponse:
        """Render a template, and return the response.

        Args:
            request: the request, which the template knows as `request`.
            name: the template's name.
            context: what else it is to know.
            status_code: the HTTP status.
            headers: further headers.
            media_type: the media type; ``text/html`` where it is None.
            background: what to run after the response was sent.
        """
        if not isinstance(request, HTTPConnection) or not isinstance(name, str):
            raise TypeError(
                "TemplateResponse takes the request, then the name: TemplateResponse(request, 'home.html', {…}), not"
                f" ({type(request).__name__}, {type(name).__name__}, …)"
            )
        known: dict[str, Any] = {"request": request, **(context or {})}
        for processor in self.context_processors:
            known.update(processor(request))
        response = TemplateResponse(self.get_template(name), known, status_code, headers, media_type, background)
        _tell(request, response)
        return response


def _tell(request: HTTPConnection, response: TemplateResponse) -> None:
    """Leave what was rendered with a test client that wants to know.

    It passes a dict for it: as the extension ``http.response.debug`` of the scope, as ``dualroute.debug`` in the
    environ.  What is left there is what Starlette has in the ASGI message of that name.
    """
    if request.environ is not None:
        wanted = request.environ.get("dualroute.debug")
    else:
        wanted = (request.scope.get("extensions") or {}).get("http.response.debug")
    if isinstance(wanted, dict):
        wanted["info"] = {"template": response.template, "context": response.context}


def _existing(
    directory: str | PathLike[str] | Sequence[str | PathLike[str]],
) -> Sequence[str | PathLike[str]]:
    """Return the directories, of which one at least is there: the others may come later, to override it."""
    directories = [directory] if isinstance(directory, str | PathLike) else list(directory)
    if not any(os.path.isdir(item) for item in directories):
        shown = ", ".join(repr(os.fspath(item)) for item in directories) or "an empty list"
        raise ValueError(f"Jinja2Templates: no such directory: {shown} (below {os.getcwd()!r})")
    return directories


def _escapes(name: str | None) -> bool:
    """Tell whether values are escaped in the template called `name`, or in a text that has no name."""
    parts = (name or "").lower().rpartition("/")[2].split(".")[1:]
    while parts and parts[-1] in _ENGINES:
        del parts[-1]
    return not parts or parts[-1] not in _PLAIN
