"""The rules of the tree hold because each is seen to catch what it forbids; what is imported is declared."""

import ast
import copy
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any, Final

import grimp
import pytest
from importlinter import Contract
from importlinter.configuration import configure
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINTER: Final = PROJECT["tool"]["importlinter"]
KINDS: Final[dict[str, type[Contract]]] = {
    kind.type_name: kind
    for kind in (
        AcyclicSiblingsContract,
        ForbiddenContract,
        IndependenceContract,
        LayersContract,
        ProtectedContract,
    )
}
RULES: Final = {
    rule["id"]: {name: str(value) if isinstance(value, bool) else value for name, value in rule.items()}
    for rule in LINTER["contracts"]
}
PLANTED: Final = [
    ("tree", "shared.metrics", "order_processor.handlers"),
    ("tree", "api_gateway.routes", "order_processor.handlers"),
    ("tree", "notifier.handlers", "dashboard.routes"),
    ("tree", "order_processor.main", "orderctl.oracle"),
    ("tree", "dashboard.routes", "tests.harness.waiting"),
    ("tree", "orderctl.load", "benchmarks.load"),
    ("tree", "benchmarks.load", "tests.harness.client"),
    ("tree", "deploy.ready", "orderctl.errors"),
    ("shared", "shared.errors", "shared.messages"),
    ("shared", "shared.logs", "shared.redis.client"),
    ("shared", "shared.pipeline", "shared.messaging.ports"),
    ("shared", "shared.redis.client", "shared.messaging.ports"),
    ("shared", "shared.messaging.router", "shared.redis.client"),
    ("shared", "shared.messaging.router", "shared.orders.redis.store"),
    ("shared", "shared.http.server", "shared.service.worker"),
    ("shared", "shared.http.server", "shared.orders.model"),
    ("cycles", "shared.messaging.ports", "shared.messaging.router"),
    ("cycles", "api_gateway.ports", "api_gateway.intake"),
    ("cycles", "orderctl.errors", "orderctl.terminal"),
    ("parts", "dashboard.overview.page", "dashboard.dead_letters.letter"),
    ("pure", "shared.pipeline", "asyncio"),
    ("pure", "shared.messages", "aiohttp"),
    ("pure", "shared.messaging.retry", "shared.redis.client"),
    ("pure", "notifier.domain", "smtplib"),
    ("light", "shared.services", "shared.messages"),
    ("amqp", "shared.messaging.router", "aio_pika"),
    ("amqp", "dashboard.dead_letters.desk", "aiormq"),
    ("amqp", "benchmarks.stage", "pamqp"),
    ("redis", "notifier.handlers", "redis"),
    ("redis", "shared.messaging.memory", "redis"),
    ("redis", "orderctl.doctor", "redis"),
    ("opentelemetry", "shared.tracing", "opentelemetry"),
    ("fakes", "shared.redis.client", "fakeredis"),
    ("http", "notifier.handlers", "aiohttp"),
    ("http", "shared.redis.client", "shared.http.problems"),
    ("use-cases", "notifier.handlers", "shared.redis.client"),
    ("use-cases", "api_gateway.order_routes", "shared.orders.redis.store"),
    ("use-cases", "dashboard.dead_letters.routes", "shared.messaging.rabbitmq.dead_letters"),
    ("use-cases", "catalogue.reading", "shared.redis.client"),
    ("builders", "notifier.handlers", "notifier.store"),
    ("builders", "dashboard.routes", "dashboard.overview.store"),
    ("builders", "api_gateway.intake", "shared.messaging.rabbitmq.broker"),
    ("mains", "orderctl.embedded.process", "notifier.main"),
    ("benchmarks", "benchmarks.load", "orderctl.verification.verification"),
]
"""The rule, a module, and what it must not import."""
PRIVATE: Final = [
    ("redis", "8.1", "shared/redis/client.py"),
    ("aiormq", "7.2", "shared/messaging/rabbitmq/publishing.py"),
    ("aiohttp", "3.14", "shared/http/connection.py"),
]
"""Libraries of which more is used than they promise, the version that was read, and where it is used."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports what in the whole tree."""
    configure()  # contracts take the linter's clock and printer from there
    return grimp.build_graph(*LINTER["root_packages"], include_external_packages=True, cache_dir=None)


def keeps(rule: str, graph: grimp.ImportGraph) -> bool:
    """Whether the graph keeps a rule, which may leave out of it what the rule ignores."""
    options = RULES[rule]
    contract = KINDS[options["type"]](name=options["name"], session_options=LINTER, contract_options=options)
    return contract.check(copy.deepcopy(graph), verbose=False).kept


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_keeps_the_rule(rule: str, graph: grimp.ImportGraph) -> None:
    """Otherwise a planted violation would prove nothing."""
    assert keeps(rule, graph)


@pytest.mark.parametrize(("rule", "importer", "imported"), PLANTED)
def test_a_planted_violation_is_caught(
    rule: str, importer: str, imported: str, graph: grimp.ImportGraph
) -> None:
    """One import line is enough."""
    assert importer in graph.modules, "plant it in a module that exists"
    assert imported in graph.modules or imported.partition(".")[0] not in LINTER["root_packages"]
    planted = copy.deepcopy(graph)
    planted.add_import(importer=importer, imported=imported)
    assert not keeps(rule, planted)


def test_every_rule_has_a_planted_violation() -> None:
    """A rule that catches nothing is a comment."""
    assert {rule for rule, _, _ in PLANTED} == set(RULES)


def test_a_module_without_a_layer_is_caught(graph: grimp.ImportGraph) -> None:
    """What is new in shared says where it stands."""
    planted = copy.deepcopy(graph)
    planted.add_module("shared.helpers")
    assert not keeps("shared", planted)


# --- every package is seen ----------------------------------------------------------------------------------


def sources() -> list[Path]:
    """Every Python file that belongs to the tree, new ones included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [Path(name) for name in listed.splitlines() if (ROOT / name).is_file()]


def packages() -> set[str]:
    """What stands at the top."""
    return {path.parts[0] for path in sources() if len(path.parts) > 1}


def test_import_linter_sees_every_package() -> None:
    """One that it does not see may import anything."""
    assert set(LINTER["root_packages"]) == packages()


def test_mypy_and_ruff_see_every_package() -> None:
    """Both take the whole tree, so that nothing has to be added for a new package."""
    assert PROJECT["tool"]["mypy"]["files"] == ["."]
    assert "exclude" not in PROJECT["tool"]["mypy"]
    assert not {"exclude", "extend-exclude", "include"} & PROJECT["tool"]["ruff"].keys()
    assert "ruff check --quiet --output-format concise .\n" in (ROOT / "Makefile").read_text()


def test_what_is_installed_is_every_package_of_the_product() -> None:
    """Found by looking, so that a new one needs no line; tests and benchmarks stay in the checkout."""
    found = PROJECT["tool"]["setuptools"]["packages"]["find"]
    assert found == {"exclude": ["benchmarks*", "tests*"], "namespaces": False}
    without = {name for name in packages() if not (ROOT / name / "__init__.py").is_file()}
    assert without <= {"deploy", "tests"}, "a package of the product has its __init__"


# --- what is imported is declared ---------------------------------------------------------------------------


def declared(*groups: str) -> set[str]:
    """The distributions that the project names, with those of its groups."""
    named = [*PROJECT["project"]["dependencies"]]
    for group in groups:
        named += [each for each in PROJECT["dependency-groups"][group] if isinstance(each, str)]
    return {normalized(re.split(r"[\[<>=;! ]", each)[0]) for each in named}


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(graph: grimp.ImportGraph, *roots: str) -> Iterator[tuple[str, str]]:
    """Each import of something from outside: who imports it, and its top-level name."""
    for module in graph.modules:
        if module.partition(".")[0] in roots and not module.startswith("tests.examples."):
            for other in graph.find_modules_directly_imported_by(module):
                top = other.partition(".")[0]
                if top not in LINTER["root_packages"] and top not in sys.stdlib_module_names:
                    yield module, top


@pytest.mark.parametrize(
    ("roots", "groups"),
    [
        (tuple(sorted(packages() - {"tests", "benchmarks"})), ()),
        (("benchmarks",), ("bench",)),
        (("tests",), ("test", "check", "build")),
    ],
    ids=["product", "benchmarks", "tests"],
)
def test_what_is_imported_is_declared(
    roots: tuple[str, ...], groups: tuple[str, ...], graph: grimp.ImportGraph
) -> None:
    """What comes along with something else today may not come along tomorrow."""
    known, distributions = declared(*groups), packages_distributions()
    missing = {
        (module, name)
        for module, name in imported(graph, *roots)
        if not known & {normalized(each) for each in distributions.get(name, [name])}
    }
    assert missing == set()


@pytest.mark.parametrize(("distribution", "seen", "file"), PRIVATE)
def test_what_is_used_privately_is_of_a_version_that_was_looked_at(
    distribution: str, seen: str, file: str
) -> None:
    """After an upgrade, read the file against the library again, then move the version here and the pin."""
    assert (ROOT / file).is_file()
    assert version(distribution).startswith(f"{seen}."), file
    (pin,) = (each for each in PROJECT["project"]["dependencies"] if re.match(rf"{distribution}\b", each))
    major, minor = map(int, seen.split("."))
    assert pin.endswith(f">={seen},<{major}.{minor + 1}")


# --- one word, one meaning ----------------------------------------------------------------------------------


def test_a_class_name_stands_once_in_the_product() -> None:
    """A reader who has met a name knows what it is."""
    found: dict[str, list[str]] = {}
    for path in sources():
        if path.parts[0] not in ("tests", "benchmarks"):
            for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append(str(path))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}
