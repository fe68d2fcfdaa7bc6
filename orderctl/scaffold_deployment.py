"""A new consumer's lines wherever services are named: what the notifier has there, under the new name."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Final

from orderctl.errors import OrderctlError
from shared.pipeline import CONSUMPTIONS, NOTIFIER, Consumption
from shared.redis.rights import rules_of

LAST: Final = CONSUMPTIONS[-1]
_SETTINGS: Final = Template("""
# --- $name ------------------------------------------------------------------------------------
${prefix}_OPS_HOST=127.0.0.1
${prefix}_OPS_PORT=$port
# As GATEWAY_ALLOWED_HOSTS.
${prefix}_ALLOWED_HOSTS=
# Unacked deliveries at most, and how many of them are handled at a time; how long that may take.
${prefix}_PREFETCH=200
${prefix}_BATCH_LIMIT=100
${prefix}_HANDLER_TIMEOUT_SECONDS=60
${prefix}_PUBLISH_TIMEOUT_SECONDS=2
${prefix}_STORE_TIMEOUT_SECONDS=1
${prefix}_DRAIN_SECONDS=20
""")
_DOCUMENTED: Final = Template("""\
| `${prefix}_OPS_HOST`, `${prefix}_OPS_PORT` | 127.0.0.1, $port | probes and metrics |
| `${prefix}_ALLOWED_HOSTS` | loopback names | as the gateway's |
| `${prefix}_PREFETCH`, `${prefix}_BATCH_LIMIT` | 200, 100 | unacked deliveries; handled at a time |
| `${prefix}_HANDLER_TIMEOUT_SECONDS` | 60 | for the events that are handled together |
| `${prefix}_PUBLISH_TIMEOUT_SECONDS`, `${prefix}_STORE_TIMEOUT_SECONDS` | 2, 1 | |
| `${prefix}_DRAIN_SECONDS` | 20 | |
""")

KUBERNETES: Final = "deploy/kubernetes/base"

Edit = Callable[[str, Consumption], str]


def deployed(root: Path, row: Consumption) -> Mapping[Path, str]:
    """The files with the consumer's lines in them. Raises OrderctlError where one has an unexpected form."""
    manifest = (root / KUBERNETES / f"services/{NOTIFIER.service}.yaml").read_text(encoding="utf-8")
    return {
        root / path: edit((root / path).read_text(encoding="utf-8"), row) for path, edit in _EDITS.items()
    } | {root / KUBERNETES / f"services/{_dashed(row)}.yaml": _manifest(manifest, row)}


def _block(head: str) -> Edit:
    """A line and those below it that are indented deeper."""

    def edit(text: str, row: Consumption) -> str:
        pattern = rf"^{head}\n(?:    .*\n)+\n?"
        new = _twin(text, pattern.format(NOTIFIER.service), row)
        return _behind(text, pattern.format(LAST.service), new)

    return edit


def _compose(text: str, row: Consumption) -> str:
    text = _block("  {}:")(text, row)
    for secret in ("REDIS", "BROKER"):
        line = rf"^ +{{}}_{secret}_PASSWORD: .*\n"
        text = _behind(text, line.format(LAST.service.upper()), _twin(text, line.format("NOTIFIER"), row))
    return _behind(text, rf"^ +{LAST.service}=http.*\n", _twin(text, r"^ +notifier=http.*\n", row))


def _rights(text: str, row: Consumption) -> str:
    rights = " ".join(rules_of(row.service))
    line = f"user {row.service} on >${row.service.upper()}_REDIS_PASSWORD {rights}\n"
    return _behind(text, rf"^user {LAST.service} .*\n", line)


def _import_rules(text: str, row: Consumption) -> str:
    """In every list of all services."""
    text = text.replace('"notifier", "dashboard"', f'"notifier", "{row.service}", "dashboard"')
    return text.replace("| notifier | dashboard", f"| notifier | {row.service} | dashboard")


def _manifest(text: str, row: Consumption) -> str:
    """The notifier's without its scaler, which goes by a figure of its own; names of objects have dashes."""
    text = text.partition("---\n# By the age")[0].replace(f"  {NOTIFIER.settings}_SENDER: log\n", "")
    text = text.replace("spec:\n  selector: {matchL", "spec:\n  replicas: 2\n  selector: {matchL", 1)
    text = re.sub(rf"(/name: |-m, |://){NOTIFIER.service}", rf"\g<1>{row.service}", text)
    text = text.replace(NOTIFIER.service, _dashed(row)).replace(NOTIFIER.settings, row.settings)
    return text.replace(str(NOTIFIER.operations_port), str(row.operations_port))


def _listed(text: str, row: Consumption) -> str:
    return _behind(text, rf"^  - services/{_dashed(LAST)}.yaml\n", f"  - services/{_dashed(row)}.yaml\n")


def _admitted(text: str, row: Consumption) -> str:
    pattern = r"^ +- {{name: {}_BROKER_PASSWORD, .*\n"
    line = _twin(text, pattern.format(NOTIFIER.settings), row).replace(row.service, _dashed(row))
    return _behind(text, pattern.format(LAST.service.upper()), line)


def _watched(text: str, row: Consumption) -> str:
    line = f"    {row.service}=http://{_dashed(row)}-operations:{row.operations_port},\n"
    return _behind(text, rf"^ +{LAST.service}=http.*\n", line)


def _dashed(row: Consumption) -> str:
    return row.service.replace("_", "-")


def _filled(template: Template, row: Consumption) -> str:
    return template.substitute(name=row.service, prefix=row.settings, port=row.operations_port)


def _twin(text: str, pattern: str, row: Consumption) -> str:
    """What the notifier has there, as the new consumer's."""
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise OrderctlError(f"expected {pattern!r}, as the notifier has it")
    twin = found[0].replace(NOTIFIER.settings, row.settings).replace(NOTIFIER.service, row.service)
    return twin.replace(str(NOTIFIER.operations_port), str(row.operations_port))


def _behind(text: str, pattern: str, new: str) -> str:
    """``new`` behind the one place that the pattern finds."""
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if len(found) != 1:
        raise OrderctlError(f"expected {pattern!r} once, and found it {len(found)} times")
    return text[: found[0].end()] + new + text[found[0].end() :]


_EDITS: Final[Mapping[str, Edit]] = {
    "docker-compose.yml": _compose,
    "deploy/docker-compose.orderctl.yml": _block("  {}:"),
    "deploy/prometheus/prometheus.yml": _block("  - job_name: {}"),
    "deploy/redis/redis.acl": _rights,
    ".dockerignore": lambda text, row: _behind(text, rf"^!{LAST.service}/\n", f"!{row.service}/\n"),
    ".env.example": lambda text, row: text.rstrip("\n") + "\n" + _filled(_SETTINGS, row),
    "docs/settings.md": lambda text, row: _behind(
        text, r"^\| `NOTIFIER_SMTP_USERNAME`.*\n", _filled(_DOCUMENTED, row)
    ),
    "pyproject.toml": _import_rules,
    f"{KUBERNETES}/kustomization.yaml": _listed,
    f"{KUBERNETES}/rabbitmq.yaml": _admitted,
    f"{KUBERNETES}/services/dashboard.yaml": _watched,
}
