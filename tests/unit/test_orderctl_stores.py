"""The stores of a system: where they are, with whose log-in, and what a service is told of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from orderctl.native import postgres, redis
from orderctl.native.cluster import NativeCluster
from orderctl.native.layout import Layout
from orderctl.native.secrets import Secrets
from orderctl.native.services import NativeServices
from orderctl.native.system import NativeSystem
from shared.redis.rights import users_of
from shared.services import CACHE, DATABASE, SERVICES, STORE


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty data folder."""
    layout = Layout(tmp_path)
    layout.create()
    return layout


@pytest.fixture
def archivist(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a service that has a database here."""
    service = replace(SERVICES["notifier"], needs=frozenset({DATABASE}))
    monkeypatch.setitem(SERVICES, "notifier", service)
    return "notifier"


def test_passwords_are_made_once_for_their_owner_alone(layout: Layout) -> None:
    """Who may read the data folder's files still may not read this one."""
    secrets = Secrets(layout)
    assert secrets.get("one") is None
    secrets.ensure(["one"])
    made = secrets.get("one")
    secrets.ensure(["one", "other"])
    assert made
    assert secrets.get("one") == made != secrets.get("other")
    assert layout.secrets.stat().st_mode & 0o077 == 0


def test_a_service_is_told_its_own_database_alone(layout: Layout, archivist: str) -> None:
    """Each has a login of its own; one that has no database hears of none."""
    cluster = NativeCluster(layout.data_dir, port_base=23_000)
    services = NativeServices(cluster)
    assert "DATABASE_URL" not in services.settings("api_gateway")
    assert archivist in postgres.services_with_database()
    Secrets(layout).ensure([f"postgres.{archivist}"])
    password = Secrets(layout).get(f"postgres.{archivist}")
    told = services.settings(archivist)["DATABASE_URL"]
    assert told == f"postgresql://{archivist}:{password}@127.0.0.1:{cluster.ports['postgres']}/{archivist}"


def test_a_service_is_told_its_own_login_to_redis_alone(layout: Layout) -> None:
    """And of the cache, who has to do with it; the operator's is in ``status --json`` and in no command."""
    cluster = NativeCluster(layout.data_dir, port_base=23_000)
    Secrets(layout).ensure(redis.secret(login) for login in users_of(STORE))
    password = Secrets(layout).get("redis.operator") or ""
    told = {name: NativeServices(cluster).settings(name) for name in SERVICES}
    for name, settings in told.items():
        own = f"redis://{name}:{Secrets(layout).get(f'redis.{name}')}@127.0.0.1"
        assert settings["REDIS_URL"] == f"{own}:{cluster.ports[STORE]}/0"
        if name in {"catalogue", "dashboard"}:
            assert settings["CACHE_URL"] == f"{own}:{cluster.ports[CACHE]}/0"
        else:
            assert "CACHE_URL" not in settings
        assert password not in str(settings)
    assert f"operator:{password}@" in NativeSystem(layout.data_dir).status().as_json()["redis"]["url"]


def test_scripts_find_every_store(layout: Layout) -> None:
    """Each at its usual port, where nothing is in the way."""
    seen = NativeSystem(layout.data_dir).status().as_json()
    assert seen["redis"]["url"] == "redis://127.0.0.1:6379/0"
    assert seen["cache"]["url"] == "redis://127.0.0.1:6380/0"
    assert seen["postgres"]["url"] == "postgresql://postgres@127.0.0.1:5432/postgres"
