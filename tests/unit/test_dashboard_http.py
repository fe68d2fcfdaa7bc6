"""What holds for every answer of the dashboard."""

from collections.abc import AsyncIterator

import pytest

from tests.harness.dashboard import Dashboard, dashboard

PATHS = ("/", "/metrics", "/livez", "/readyz", "/healthz", "/static/page.css", "/nothing-here")


@pytest.fixture
async def served() -> AsyncIterator[Dashboard]:
    """A dashboard that has good news."""
    async with dashboard() as running:
        yield running


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_a_correlation_id(served: Dashboard, path: str) -> None:
    """The caller's if it sent a sane one, else a new one."""
    assert (await served.get(path, X_Correlation_ID="mine-1")).headers["X-Correlation-ID"] == "mine-1"
    made_up = (await served.get(path, X_Correlation_ID="<script>")).headers["X-Correlation-ID"]
    assert len(made_up) == 32


async def test_an_unknown_path_is_a_problem(served: Dashboard) -> None:
    """404, with the path as the instance and nothing of it in the words."""
    answer = await served.get("/dead-ends/%00<b>")
    problem = await answer.json()
    assert (answer.status, answer.content_type) == (404, "application/problem+json")
    assert problem["title"] == "Not found"
    assert "dead-ends" in problem["instance"]


async def test_another_method_is_a_problem(served: Dashboard) -> None:
    """405 with ``Allow``."""
    answer = await served.client.post("/metrics", data=b"x")
    assert (answer.status, answer.content_type) == (405, "application/problem+json")
    assert answer.headers["Allow"] == "GET, HEAD"


async def test_a_fault_of_ours_shows_nothing_of_our_insides(
    served: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 as a problem; what happened is in the log alone."""

    def break_down() -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(type(served.brokers), "state", lambda _: break_down())
    answer = await served.get("/metrics")
    assert (answer.status, answer.content_type) == (500, "application/problem+json")
    assert "secret" not in await answer.text()


async def test_probes_stand_on_the_same_port(served: Dashboard) -> None:
    """Alive at once, ready when the dependencies are, with reasons until then."""
    served.health.add("redis", lambda: "not reached yet")
    assert (await served.get("/livez")).status == 200
    ready = await served.get("/readyz")
    assert (ready.status, await ready.text()) == (503, "redis: not reached yet\n")
    assert (await served.get("/healthz")).status == 503


async def test_nothing_foreign_is_loaded(served: Dashboard) -> None:
    """The policy allows our own files only, and the page refers to no others."""
    page = await served.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "http" not in (await page.text()).replace('http-equiv="refresh"', "")


@pytest.mark.parametrize("name", ["page.css", "page.js", "icon.svg"])
async def test_the_pages_files_are_served(served: Dashboard, name: str) -> None:
    """Each with a type under which browsers accept it."""
    answer = await served.get(f"/static/{name}")
    assert answer.status == 200
    assert answer.content_type in {"text/css", "text/javascript", "image/svg+xml"}


@pytest.mark.parametrize("name", ["..%2Fapp.py", "%2e%2e/app.py", "nothing.css"])
async def test_no_other_file_is_served(served: Dashboard, name: str) -> None:
    """Neither ours nor the system's."""
    assert (await served.get(f"/static/{name}")).status == 404
