"""How far a migration has come: which URLs of the legacy apps behind an app are answered by its own routes by now.

A legacy app stands behind ours as its fallback, or below a mount or a host of its own.  Each URL of its map
(`dualroute.urlmaps`) is turned into sample paths, and the index of our routes is asked where each of those leads, by
each of the URL's methods.  So the answer is the router's own: shadowing, declared order, convertors and methods count
as they do for a request, and the texts of patterns are never compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from dualroute import matching
from dualroute.callables import describe
from dualroute.paths import Parameter
from dualroute.routing import Host, Mount, Router, router_of
from dualroute.samples import Choice, NoSample, Part, choice, names, samples
from dualroute.targets import Target
from dualroute.urlmaps import ANY, WEBSOCKET, LegacyURL, listed, unwrapped

__all__ = ["MigrationTable", "legacy_places", "migration_tables"]

# How many prefixes and hosts are tried at most, as each of them comes with all the samples of a URL.
_FEW = 8

# How a URL is asked that does not tell its methods.
_ANY = ("GET", "POST")

# Where a sample leads.  Anything else is a text that says who has it now.
_OURS = "moved"
_LEGACY = "still legacy"

# Stands for a parameter, where any host will do.
_HOST = "some hosts"

STATUSES: dict[str, str] = {
    "moved": "moved",
    "in part": "in part",
    "legacy": "still legacy",
    "lost": "lost",
    "?": "without a sample",
}
"""What a URL may be, and how the total calls it; "lost" is one that neither our routes nor its own app answer."""


@dataclass
class MigrationTable:
    """The URLs of one legacy app, and what has become of them.

    Args:
        heading: how the app is reached, and what it is.
        rows: path, methods, endpoint, status and what is left, for each URL.
        total: the sum of it, in one line.
    """

    heading: str
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    total: str = ""


_Written: TypeAlias = tuple[str | Parameter, ...]


@dataclass
class _Legacy:
    """A legacy app in its place: below a prefix, behind a host (None for any)."""

    app: Any
    prefix: _Written = ()
    host: _Written | None = None
    name: str = ""

    @property
    def path(self) -> str:
        return _text(self.prefix)

    @property
    def how(self) -> str:
        """How the app is reached, in words."""
        words = [f"host {_text(self.host)}"] if self.host is not None else []
        if self.prefix or not (words or self.name):
            words.append(f"mount {self.path or '/'}")
        return ", ".join([*words, self.name] if self.name else words)


def migration_tables(app: Any) -> list[MigrationTable]:
    """Return a table for each legacy app that stands behind `app`, in the order in which routes are tried.

    Nothing that a legacy app may be makes this raise: what can't be read is called opaque, and why.
    """
    router = router_of(app)
    if router is None:
        return []
    asker = _Asker(app, router)
    return [_table(legacy, asker) for legacy in _legacy_apps(_Legacy(app), router, ())]


def legacy_places(app: Any) -> list[tuple[str, Any]]:
    """Return the apps of others behind `app`, each with the path of its mount, where that has no parameters."""
    router = router_of(app)
    places = _legacy_apps(_Legacy(app), router, ()) if router is not None else ()
    return [(place.path, place.app) for place in places if all(isinstance(part, str) for part in place.prefix)]


def _legacy_apps(place: _Legacy, router: Router, around: tuple[Router, ...]) -> Iterator[_Legacy]:
    """Yield the legacy apps inside an app of ours, which stands at `place`."""
    if router in around:  # mounted inside itself
        return
    around = (*around, router)
    for route in router.routes:
        if not isinstance(route, (Mount, Host)):
            continue
        inside = replace(place, app=route.app)
        if isinstance(route, Host):
            inside.host = route.template.parts
        else:
            inside.prefix += route.template.parts
        if route.foreign is not None:
            yield replace(inside, app=route.foreign.app)
        elif route.router is not None:
            yield from _legacy_apps(inside, route.router, around)
    if router.foreign_default is not None:
        name = "default" if isinstance(place.app, Router) else "fallback"
        yield replace(place, app=router.foreign_default.app, name=name)
    elif (inner := router_of(router.default)) is not None:
        yield from _legacy_apps(replace(place, app=router.default), inner, around)


def _text(written: _Written) -> str:
    return "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in written)


def _parts(written: _Written) -> tuple[Part, ...]:
    """Return what samples are made of, for a template of ours.  Raises NoSample."""
    return tuple(
        part if isinstance(part, str) else choice(part.name, part.convertor.regex, part.convertor.convert)
        for part in written
    )


def _table(legacy: _Legacy, asker: _Asker) -> MigrationTable:
    app, urls, why = None, [], ""
    try:
        app = unwrapped(legacy.app)
        urls = [] if app is None else listed(app)
    except Exception as error:  # an app that isn't set up, or a module of its that can't be imported
        why = " ".join(f": {type(error).__name__}: {error}".split())
    table = MigrationTable(f"{legacy.how}: {_shown(legacy.app if app is None else app)}")
    if app is None or why:
        table.total = f"opaque: its URLs can't be listed{why}"
        return table
    for url in urls:
        status, left = _status(url, legacy, asker)
        methods = ", ".join(url.methods)
        # A regular expression may have been written in several lines.
        path = " ".join(f"{url.host}{legacy.path}{url.path}".split())
        table.rows.append((path, methods, url.endpoint, status, left))
    table.total = _total([row[3] for row in table.rows])
    return table


def _shown(app: Any) -> str:
    name = getattr(app, "name", None)
    return f"{describe(app)} {name!r}" if isinstance(name, str) else describe(app)


def _total(found: list[str]) -> str:
    counts = {status: found.count(status) for status in STATUSES}
    words = [f"{counts['moved']} of {len(found)} URLs moved"]
    for status in list(STATUSES)[1:]:
        if counts[status] or status in ("in part", "legacy"):
            words.append(f"{counts[status]} {STATUSES[status]}")
    return ", ".join(words)


# One URL.


@dataclass(frozen=True)
class _Trial:
    """A sample of a URL: the values of its parameters by name, and where it leads by each of the URL's methods."""

    values: dict[str, str]
    leads: dict[str, str]


def _status(url: LegacyURL, legacy: _Legacy, asker: _Asker) -> tuple[str, str]:
    """Return what has become of a URL, and what is left of it."""
    try:
        trials = list(_trials(url, legacy, asker))
    except NoSample:
        trials = []
    if not trials:
        return "?", "can't make a sample path"
    ends = {end for trial in trials for end in trial.leads.values()}
    if ends == {_OURS}:
        return "moved", ""
    if ends == {_LEGACY}:
        return "legacy", ""
    status = "in part" if _OURS in ends else "legacy" if _LEGACY in ends else "lost"
    told = ends - ({_LEGACY} if status == "legacy" else {_OURS})
    return status, "; ".join(_left(end, trials) for end in sorted(told))


def _left(end: str, trials: list[_Trial]) -> str:
    """Return for which methods and values a URL leads to `end`."""
    methods = list(trials[0].leads)
    always = [method for method in methods if all(trial.leads[method] == end for trial in trials)]
    partly = [method for method in methods if method not in always and any(t.leads[method] == end for t in trials)]
    said = []
    if always:
        said.append(f"{', '.join(always)} {end}")
    if partly:
        by = f"{', '.join(partly)} with " if partly != methods else ""
        said.append(f"{by}{_some_values(trials, partly)} {end}")
    return "; ".join(said)


def _some_values(trials: list[_Trial], methods: list[str]) -> str:
    """Return which parameters it depends on where a URL leads by these methods."""
    on = {
        name
        for one, other in itertools.combinations(trials, 2)
        if any(one.leads[method] != other.leads[method] for method in methods)
        and len(differing := _differing(one.values, other.values)) == 1
        for name in differing
    }
    in_order = dict.fromkeys(name for trial in trials for name in trial.values if name in on)
    words = ", ".join(f"<{name}>" for name in in_order if name != _HOST)
    said = [*([f"some values of {words}"] if words else []), *([_HOST] if _HOST in on else [])]
    return " and ".join(said) or "some paths"


def _differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _trials(url: LegacyURL, legacy: _Legacy, asker: _Asker) -> Iterator[_Trial]:
    prefix = _parts(legacy.prefix)
    host = _parts(legacy.host) if legacy.host is not None else url.host_parts or (Choice(_HOST, asker.hosts),)
    methods = _ANY if url.methods == ANY else url.methods
    for shape in url.shapes or ():
        named = (*names(prefix), *names(shape), *names(host))
        inside = [sample for sample in samples(shape) if url.accepts is None or url.accepts(sample.text)]
        for before, sample, at in itertools.product(samples(prefix, _FEW), inside, samples(host, _FEW)):
            path = before.text + sample.text
            leads = {method: asker.leads(method, at.text, path, legacy.app) for method in methods}
            yield _Trial(dict(zip(named, (*before.values, *sample.values, *at.values), strict=True)), leads)


# Where a request leads.


class _Asker:
    """The app, asked where requests lead.

    `hosts` are those to ask about where any host will do: one that no route names, and some that routes name.
    """

    def __init__(self, app: Any, router: Router) -> None:
        self._decide = app.dispatcher.decide
        named = dict.fromkeys(_hosts(router))
        self.hosts = ("localhost", *itertools.islice(named, _FEW - 1))

    def leads(self, method: str, host: str, path: str, legacy: Any) -> str:
        """Return `_OURS`, `_LEGACY` where the request leads to that app, or who has it else."""
        kind = matching.WEBSOCKET if (method,) == WEBSOCKET else matching.HTTP
        host = host.lower().partition(":")[0]
        try:
            found, location, miss = self._decide(kind, Target(method, "", path, host, host))
        except Exception:  # a convertor of ours, most likely
            return "answered 500"
        if location is not None:
            return f"redirected to {'no slash' if path.endswith('/') else 'a slash'}"
        if found is None:
            if miss.partial:
                return _OURS if method == "OPTIONS" else "answered 405"
            return "answered 404"
        foreign = getattr(found[0][-1], "foreign", None)
        if foreign is None:
            return _OURS
        return _LEGACY if foreign.app is legacy else f"answered by {_shown(foreign.app)}"


def _hosts(router: Router, around: tuple[Router, ...] = ()) -> Iterator[str]:
    """Yield a sample of each host behind which there are routes of ours."""
    if router in around:
        return
    for route in router.routes:
        inner = getattr(route, "router", None)
        if inner is None:
            continue
        if isinstance(route, Host) and inner.foreign_default is None:
            try:
                yield next(samples(_parts(route.template.parts))).text
            except NoSample:
                continue
        yield from _hosts(inner, (*around, router))
