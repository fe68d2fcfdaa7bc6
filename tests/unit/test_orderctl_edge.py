"""`orderctl up --edge`: what it needs, and whom the gateway trusts because of it."""

from pathlib import Path

import pytest

from orderctl.errors import OrderctlError
from orderctl.native import edge, packages
from orderctl.native.layout import Layout
from orderctl.native.ports import EDGE, Ports
from orderctl.progress import silent


def test_the_gateway_trusts_the_edge_beside_the_operator_s_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the whole of loopback, from which any program asks."""
    monkeypatch.delenv(edge.TRUSTED_SETTING, raising=False)
    assert edge.trusted_proxies() == {edge.TRUSTED_SETTING: edge.SOURCE_ADDRESS}
    monkeypatch.setenv(edge.TRUSTED_SETTING, "10.0.0.0/8")
    assert edge.trusted_proxies() == {edge.TRUSTED_SETTING: f"10.0.0.0/8,{edge.SOURCE_ADDRESS}"}


def test_without_nginx_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where this user cannot install it."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(OrderctlError) as refused:
        packages.ensure_nginx(silent, tmp_path / "log")
    assert "nginx-light" in f"{refused.value} {refused.value.advice}"


@pytest.mark.parametrize("rate", ["0", "-1", "many", "1.5"])
def test_a_rate_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rate: str) -> None:
    """By its name, before nginx would refuse its file."""
    monkeypatch.setenv(edge.RATE_SETTING, rate)
    layout = Layout(tmp_path)
    layout.create()
    with pytest.raises(OrderctlError, match=edge.RATE_SETTING):
        edge.configure(layout, Ports(layout, {EDGE: 1, "api_gateway.http": 2}))
