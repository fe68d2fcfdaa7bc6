"""What holds for every test, and the one cluster for all that need a real broker."""

from collections.abc import Iterator

import pytest

from orderctl.native.cluster import NativeCluster
from tests.harness.running import Pipeline, private_cluster

pytest_plugins = ["tests.availability", "tests.sharing"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[NativeCluster]:
    """Three RabbitMQ nodes and a Redis, private to this run."""
    with private_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def running_pipeline(cluster: NativeCluster) -> Iterator[Pipeline]:
    """The services on the cluster, ended after the last test."""
    pipeline = Pipeline(cluster)
    yield pipeline
    pipeline.stop_all()


@pytest.fixture
async def pipeline(running_pipeline: Pipeline) -> Pipeline:
    """The whole system, whatever the test before it broke."""
    await running_pipeline.make_whole()
    return running_pipeline
