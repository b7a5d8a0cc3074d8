"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

INSTALLED = any(item.value == "dualroute.pytest_plugin" for item in entry_points(group="pytest11"))

APP = """
    import pytest
    from dualroute import DualRoute, PlainTextResponse, Route

    def home(request):
        return PlainTextResponse("environ" if request.environ is not None else "scope")

    @pytest.fixture
    def app():
        return DualRoute([Route("/", home)])
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Return a function that runs pytest with the plugin, in a process of its own, on a conftest and tests."""

    def run(conftest: str, tests: str, *args: str) -> pytest.RunResult:
        pytester.makeconftest(conftest)
        pytester.makepyfile(tests)
        plugin = () if INSTALLED else ("-p", "dualroute.pytest_plugin")
        return pytester.runpytest_subprocess(
            *plugin, "-p", "no:cacheprovider", "-v", "--strict-markers", "-W", "error", *args, timeout=60
        )

    return run


def test_a_test_that_asks_for_a_client_runs_by_both_protocols(run: Run) -> None:
    result = run(
        APP,
        """
        def test_home(client, protocol):
            assert client.get("/").text == {"asgi": "scope", "wsgi": "environ"}[protocol]
            assert client.protocol == protocol

        def test_other():
            pass
        """,
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*::test_home?asgi? PASSED*", "*::test_home?wsgi? PASSED*", "*::test_other PASSED*"])


def test_a_mark_narrows_it_to_one(run: Run) -> None:
    result = run(
        APP,
        """
        import pytest

        @pytest.mark.protocol("asgi")
        def test_one(client):
            assert client.protocol == "asgi"

        @pytest.mark.protocol("wsgi")
        class TestGroup:
            def test_two(self, client):
                assert client.protocol == "wsgi"

            @pytest.mark.protocol("asgi", "wsgi")
            def test_three(self, client):
                pass
        """,
    )
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*::test_one?asgi? *", "*::test_two?wsgi? *", "*three?asgi? *", "*three?wsgi? *"])


def test_a_mark_for_no_protocol_is_refused(run: Run) -> None:
    result = run(APP, "import pytest\n\n@pytest.mark.protocol('rsgi')\ndef test_one(client):\n    pass\n")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*the protocol marker takes 'asgi' or 'wsgi', not ('rsgi',)*"])


def test_the_lifespan_is_run_around_each_test(run: Run) -> None:
    result = run(
        """
        import pytest
        from dualroute import DualRoute, Mount

        events = []

        async def living(scope, receive, send):
            if scope["type"] == "lifespan":
                for event in ("startup", "shutdown"):
                    await receive()
                    events.append(event)
                    await send({"type": f"lifespan.{event}.complete"})

        @pytest.fixture
        def app():
            yield DualRoute([Mount("/", app=living)])
            assert events == ["startup", "shutdown"]
            events.clear()
        """,
        "def test_one(client):\n    pass\n",
    )
    result.assert_outcomes(passed=2)


def test_other_parameters_multiply(run: Run) -> None:
    result = run(
        APP,
        """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_one(client, number):
            pass
        """,
    )
    result.assert_outcomes(passed=4)


@pytest.mark.parametrize(
    "own",
    [
        # a hook that gives the values, as in this project's own conftest
        """
def pytest_generate_tests(metafunc):
    if "protocol" in metafunc.fixturenames:
        metafunc.parametrize("protocol", ["wsgi"])
""",
        "import pytest\n\n@pytest.fixture\ndef protocol():\n    return 'wsgi'\n",
        "import pytest\n\n@pytest.fixture(params=['wsgi'])\ndef protocol(request):\n    return request.param\n",
    ],
    ids=["hook", "fixture", "parametrised fixture"],
)
def test_a_conftest_may_have_a_protocol_of_its_own(run: Run, own: str) -> None:
    result = run(textwrap.dedent(APP) + "\n" + own, "def test_one(client):\n    assert client.protocol == 'wsgi'\n")
    result.assert_outcomes(passed=1)


def test_a_test_may_give_the_protocol_itself(run: Run) -> None:
    result = run(
        APP,
        """
        import pytest

        @pytest.mark.parametrize("protocol", ["wsgi"])
        def test_one(client):
            assert client.protocol == "wsgi"
        """,
    )
    result.assert_outcomes(passed=1)


def test_a_conftest_may_have_a_client_of_its_own(run: Run) -> None:
    result = run(
        "import pytest\n\n@pytest.fixture\ndef client():\n    return 'mine'\n",
        "def test_one(client):\n    assert client == 'mine'\n",
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("order", [["other_plugin", "ours"], ["ours", "other_plugin"]])
def test_another_plugin_may_have_a_client_of_its_own(pytester: pytest.Pytester, order: list[str]) -> None:
    pytester.makepyfile(other_plugin="import pytest\n\n@pytest.fixture\ndef client():\n    return 'theirs'\n")
    pytester.makepyfile(test_one="def test_one(client):\n    assert client == 'theirs'\n")
    pytester.syspathinsert()
    args = []
    for name in order:
        if name != "ours":
            args += ["-p", name]
        elif not INSTALLED:
            args += ["-p", "dualroute.pytest_plugin"]
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *args, timeout=60)
    result.assert_outcomes(passed=1)


def test_the_marker_and_the_fixtures_are_listed(run: Run, pytester: pytest.Pytester) -> None:
    result = run("", "", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.protocol(name): *"])
    result = run("", "", "--fixtures")
    result.stdout.fnmatch_lines(["protocol*", "*Which protocol*", "client*", "*A dualroute TestClient*"])


def test_nothing_is_loaded_where_it_is_not_used(run: Run) -> None:
    result = run(
        "",
        """
        import sys

        def test_one():
            for name in ("httpx", "dualroute.testclient", "dualroute_asgi", "dualroute_wsgi"):
                assert name not in sys.modules, name
        """,
    )
    result.assert_outcomes(passed=1)
