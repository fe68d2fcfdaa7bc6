"""A service is ready only if the process that was started answers for it."""

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderctl.native.cluster import NativeCluster
from orderctl.native.layout import Layout
from orderctl.native.ports import Ports
from orderctl.native.services import NativeServices, readiness_of, spec_of
from shared.health import PROCESS_HEADER
from shared.services import SERVICES


class Probed(http.server.BaseHTTPRequestHandler):
    """Answers every probe as a service does that can do its work."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header(PROCESS_HEADER, str(os.getpid()))
        self.end_headers()


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Ports]:
    """Ports of a system whose processor's operations port is served by this process."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Probed)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Ports(Layout(tmp_path), preferred={"order_processor.ops": server.server_port})
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_service_itself_is_ready(ports: Ports) -> None:
    """What the started process answers counts."""
    assert readiness_of(spec_of("order_processor"), ports, pid=os.getpid()).ready


def test_another_process_on_the_port_is_not_the_service(ports: Ports) -> None:
    """A service that cannot have its port is not called ready because somebody else answers there."""
    found = readiness_of(spec_of("order_processor"), ports, pid=os.getpid() + 1)
    assert not found.ready
    assert str(os.getpid()) in found.reason


def test_each_of_the_two_open_ports_is_told_where_browsers_find_the_other(tmp_path: Path) -> None:
    """Wherever their ports are; no other service hears of it."""
    cluster = NativeCluster(tmp_path, port_base=23_000)
    others = {"GATEWAY_DASHBOARD_URL": "dashboard", "DASHBOARD_GATEWAY_URL": "api_gateway"}
    told = {
        (name, setting): url
        for name in SERVICES
        for setting, url in NativeServices(cluster).settings(name).items()
        if setting in others
    }
    assert told == {
        (name, setting): f"http://127.0.0.1:{cluster.ports[f'{others[setting]}.http']}"
        for name, setting in zip(("api_gateway", "dashboard"), others, strict=True)
    }
