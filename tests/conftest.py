"""What holds for every test, and the one cluster for all that need a real broker."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.messaging.waiting import JITTER
from tests.harness.clusters import Cluster, ClusterKind
from tests.harness.running import Pipeline
from tests.harness.workers import worker_number

LOGS_VARIABLE = "TEST_LOGS"
"""Names a folder in which the logs of the services, and of native brokers, are kept."""

pytest_plugins = ["shared.messaging.certification", "tests.availability", "tests.sharing"]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance picks next to no time: nothing waits for a backoff, or in a retry tier."""
    monkeypatch.setattr(JITTER, "uniform", lambda _, longest: min(longest, 0.001))


@pytest.fixture(scope="session")
def cluster(cluster_kind: ClusterKind) -> Iterator[Cluster]:
    """Three RabbitMQ nodes and a Redis, private to this run, made as ``--cluster`` says."""
    from tests.harness.container_cluster import container_cluster
    from tests.harness.native_cluster import native_cluster

    if cluster_kind is ClusterKind.CONTAINERS:
        with container_cluster() as in_containers:
            yield in_containers
    else:
        with native_cluster() as native:
            yield native


@pytest.fixture(scope="session")
def running_pipeline(cluster: Cluster) -> Iterator[Pipeline]:
    """The services on the cluster, ended after the last test."""
    pipeline = Pipeline(cluster)
    yield pipeline
    pipeline.stop_all()
    if kept := os.environ.get(LOGS_VARIABLE):
        shutil.copytree(cluster.layout.data_dir / "logs", Path(kept) / f"worker{worker_number()}")


@pytest.fixture
async def pipeline(running_pipeline: Pipeline) -> Pipeline:
    """The whole system, whatever the test before it broke."""
    await running_pipeline.make_whole()
    return running_pipeline
