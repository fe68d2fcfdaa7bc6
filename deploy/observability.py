"""Whether a running Prometheus watches all of the pipeline: ``python deploy/observability.py URL``.

Ends with status 1 and says what is wrong unless every target is up, every rule is loaded and can be
evaluated, and every panel of the Grafana dashboard has something to show. Waits a minute for that, because
targets are found, scraped and rated one after the other. Place a few orders first, or there are no rates.
"""

import json
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from shared.services import SERVICES

DASHBOARD: Final = Path(__file__).parent / "grafana" / "dashboards" / "pipeline.json"
JOBS: Final = {*SERVICES, "rabbitmq", "prometheus"}
PATIENCE_SECONDS: Final = 60.0


def ask(url: str, path: str, **parameters: str) -> Any:
    """The data of one answer of Prometheus' API. Raises OSError."""
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=10) as answer:  # noqa: S310  # nosec B310 - given by the operator
        return json.load(answer)["data"]


def faults(url: str) -> Iterator[str]:
    """One line per thing that is wrong at present."""
    targets = ask(url, "targets")["activeTargets"]
    for job in sorted(JOBS - {target["labels"]["job"] for target in targets}):
        yield f"no target of the job {job}"
    for target in targets:
        if target["health"] != "up":
            yield f"{target['scrapeUrl']} is {target['health']}: {target['lastError']}"
    rules = [rule for group in ask(url, "rules")["groups"] for rule in group["rules"]]
    if not rules:
        yield "no rule is loaded"
    for rule in rules:
        if rule["health"] != "ok":
            yield f"rule {rule['name']} is {rule['health']}: {rule.get('lastError', 'not evaluated yet')}"
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        questions = [target["expr"].replace("$__rate_interval", "1m") for target in panel.get("targets", ())]
        if questions and not any(ask(url, "query", query=question)["result"] for question in questions):
            yield f"the panel {panel['title']!r} has nothing to show"


def main(url: str) -> int:
    """The exit status."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := list(faults(url))) and time.monotonic() < deadline:
        time.sleep(1)
    for fault in found:
        sys.stderr.write(f"{fault}\n")
    if not found:
        targets, groups = ask(url, "targets")["activeTargets"], ask(url, "rules")["groups"]
        rules = sum(len(group["rules"]) for group in groups)
        sys.stdout.write(f"{len(targets)} targets are up, {rules} rules are loaded, every panel has data\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/")))
