"""The edge: an nginx in front of the gateway that speaks HTTPS, with a certificate made for loopback.

It is optional, and no part that `up` starts by itself. It asks the gateway from an address of its own where
the system has one to give, so that the gateway believes what the edge says of clients, and nothing else that
this machine's programs say.
"""

import shutil
import signal
import sys
from pathlib import Path
from string import Template
from typing import Final

from orderctl.environment import operator_settings
from orderctl.errors import OrderctlError, PartFailedError
from orderctl.native import packages, processes
from orderctl.native.layout import Layout, project_root
from orderctl.native.ports import EDGE, LOOPBACK, Ports
from orderctl.programs import output_of

SOURCE_ADDRESS: Final = "127.0.0.2" if sys.platform == "linux" else LOOPBACK
"""Where the edge asks the gateway from."""
TRUSTED_SETTING: Final = "GATEWAY_TRUSTED_PROXIES"
RATE_SETTING: Final = "EDGE_REQUESTS_PER_SECOND"
REQUESTS_PER_SECOND: Final = "200"
START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 5.0
_FOLDERS: Final = project_root() / "deploy" / "edge"
_MAIN: Final = """\
# Written by orderctl at every start; changes here do not last.
daemon off;
pid ${EDGE_FOLDER}/nginx.pid;
worker_processes 2;
worker_shutdown_timeout 3s;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
    client_body_temp_path ${EDGE_FOLDER}/body;
    proxy_temp_path ${EDGE_FOLDER}/proxy;
    fastcgi_temp_path ${EDGE_FOLDER}/fastcgi;
    uwsgi_temp_path ${EDGE_FOLDER}/uwsgi;
    scgi_temp_path ${EDGE_FOLDER}/scgi;
    include ${EDGE_FOLDER}/edge.conf;
}
"""


def trusted_proxies() -> dict[str, str]:
    """The setting by which the gateway knows the edge, beside the proxies that the operator chose."""
    chosen = operator_settings().get(TRUSTED_SETTING)
    return {TRUSTED_SETTING: f"{chosen},{SOURCE_ADDRESS}" if chosen else SOURCE_ADDRESS}


def url(ports: Ports) -> str:
    """Where clients find it."""
    return f"https://{LOOPBACK}:{ports[EDGE]}"


def start(layout: Layout, ports: Ports) -> None:
    """Start it if it does not run; returns once it takes clients. Raises OrderctlError."""
    if processes.running(layout, EDGE):
        return
    nginx = packages.nginx()
    ports.claim([EDGE])
    configure(layout, ports)
    folder = layout.part(EDGE)
    command = [str(nginx), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    record = processes.spawn(
        layout, EDGE, command, environment={"PATH": "/usr/sbin:/usr/bin:/bin"}, cwd=folder
    )
    port = ports[EDGE]
    processes.wait_until(lambda: processes.listens(record, port) or not record.alive, START_SECONDS)
    if not processes.listens(record, port):
        raise PartFailedError(f"{EDGE}: it does not listen on port {port}", log=layout.log(EDGE))


def stop(layout: Layout) -> None:
    """End it, if it runs: requests are finished first."""
    if record := processes.running(layout, EDGE):
        processes.terminate(record, STOP_SECONDS, signal.SIGQUIT)


def configure(layout: Layout, ports: Ports) -> None:
    """Write its files, and make a certificate where there is none; raises OrderctlError."""
    folder, rate = layout.part(EDGE), _rate()
    if shutil.which("openssl") is None:
        raise OrderctlError("openssl is not installed, which makes the edge's certificate")
    output_of(["sh", str(_FOLDERS / "certificate.sh"), str(folder)], seconds=30.0, called="certificate.sh")
    values = {
        "EDGE_FOLDER": str(folder),
        "EDGE_LISTEN": f"{LOOPBACK}:{ports[EDGE]}",
        "EDGE_UPSTREAM": f"{LOOPBACK}:{ports['api_gateway.http']}",
        "EDGE_BIND": SOURCE_ADDRESS,
        RATE_SETTING: rate,
    }
    written = {
        "nginx.conf": _MAIN,
        "edge.conf": (_FOLDERS / "edge.conf.template").read_text(encoding="utf-8"),
    }
    for name, text in written.items():
        Path(folder, name).write_text(Template(text).safe_substitute(values), encoding="utf-8")


def _rate() -> str:
    chosen = operator_settings().get(RATE_SETTING) or REQUESTS_PER_SECOND
    if not (chosen.isascii() and chosen.isdecimal() and int(chosen) > 0):
        raise OrderctlError(f"{RATE_SETTING}={chosen}: not a number of requests")
    return chosen
