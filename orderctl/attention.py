"""What needs attention: what the page says, word by word, for `status` and `doctor` alike.

While the dashboard does not answer, or has not noticed yet, this machine is looked at in its place, and its
own functions make the sentences, so that they are the same; of what lies in Redis nothing is said then.
"""

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from orderctl.http import object_in, request
from orderctl.system import ServiceStatus, System, SystemStatus

if TYPE_CHECKING:
    from dashboard.overview.state import ServiceState

ANSWER_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 2.0
LONGEST_ANSWER: Final = 1_048_576
DASHBOARD: Final = "dashboard"
_NODE: Final = re.compile(r"Broker node (\w+)@\S+ does not (?:run|answer)")
_UNREACHED: Final = re.compile(
    r"did not answer|refused\b|reset|clos(?:ed|ing)|connect|LOADING", re.IGNORECASE
)
"""In what is said of a store that could not be asked; one that answered does what it says though it runs."""
_AS_ON_THE_PAGE: Final = ".venv/bin/orderctl "


def attention(system: System, status: SystemStatus) -> list[str]:
    """The sentences, the gravest first."""
    if not status.anything_runs:
        return []
    said = _said_by_dashboard(system)
    if said is not None:
        said = [each for each in said if not _is_outdated(each, status)]
    if said is None or (not said and status.missing):
        said = _seen_from_here(status) or [f"Not ready: {', '.join(status.missing or [DASHBOARD])}"]
    return [told(each) for each in said]


def _is_outdated(sentence: str, status: SystemStatus) -> bool:
    """Whether it says that a part does not work which is seen to: the page looks every two seconds."""
    ready = {each.name for each in status.services if each.ready} | {
        each.name for each in status.stores if each.ready
    }
    running = {node.node for node in status.rabbitmq if node.running}
    who, is_unready, _ = sentence.partition(": not ready: ")
    if is_unready:
        return {name.partition(" ")[0] for name in who.split(", ")} <= ready
    if sentence.startswith("No broker's management"):
        return bool(running)
    if node := _NODE.match(sentence):
        return node[1] in running
    part, _, reason = sentence.partition(": ")
    is_store = part.lower() in {each.name for each in status.stores}
    return part.lower() in ready and not (is_store and _UNREACHED.search(reason) is None)


def told(sentence: str) -> str:
    """The sentence with its command as hints have it, which `shown` turns into what is typed here."""
    return sentence.replace(_AS_ON_THE_PAGE, "orderctl ")


def _said_by_dashboard(system: System) -> list[str] | None:
    """None where it does not answer, or says what is no list of sentences."""
    if not system.owns(f"{DASHBOARD}.http"):
        return None
    try:
        url, headers = system.address(DASHBOARD), {"Accept": "application/json"}
        with request(url, "GET", "/attention", headers=headers, seconds=ANSWER_SECONDS) as answer:
            content = answer.read(LONGEST_ANSWER) if answer.status == HTTPStatus.OK else b""
    except OSError:
        return None
    said = object_in(content).get("attention")
    is_read = isinstance(said, list) and all(isinstance(each, str) for each in said)
    return said if is_read else None


def _seen_from_here(status: SystemStatus) -> list[str]:
    """Services, brokers and stores."""
    from dashboard.overview.attention import UNANSWERED, attention as in_words, service_faults
    from dashboard.overview.brokers import Knowledge, judge_nodes, queue_states, silence
    from dashboard.overview.disks import short_disks
    from dashboard.overview.state import BrokerState, PipelineState
    from shared.messaging.rabbitmq.management import ManagementClient
    from shared.services import CACHE

    urls = [node.management_url for node in status.rabbitmq if node.management_url]
    client = ManagementClient(urls, vhost="/", timeout_seconds=LOOK_SECONDS, members_needed=len(urls))
    known = Knowledge.nothing().after(asyncio.run(client.observe()))
    away = {
        store.name: "not running" if store.pid is None else f"it {UNANSWERED}"
        for store in status.stores
        if not store.ready
    }
    state = PipelineState(
        store=None,
        store_fault=away.get(status.redis.name),
        cache_fault=away.get(CACHE),
        broker=BrokerState(
            nodes=judge_nodes(known),
            queues=queue_states(known),
            observed_at=None,
            age_seconds=0.0,
            silence=silence(known),
            members_needed=known.members_needed,
        ),
        services=[_state_of(service) for service in status.services],
        short_disks=short_disks(status.data_dir),
    )
    return in_words(state) if urls else service_faults(state)


def _state_of(service: ServiceStatus) -> "ServiceState":
    from dashboard.overview.state import ServiceState

    if service.pid is None and not service.ready:
        return ServiceState(name=service.name, silence=service.reason)
    told = (each.partition(": ") for each in service.reason.split("; ") if each)
    faults = {name if reason else "service": reason or name for name, _, reason in told}
    return ServiceState(name=service.name, replicas=1, ready=int(service.ready), faults=faults)
