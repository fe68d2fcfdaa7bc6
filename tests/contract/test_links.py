"""Ending a service while it connects: its supervisor ends when it is told to, at any moment."""

import asyncio
import random

import pytest

from shared.infrastructure import ClusterInfrastructure
from tests.harness.running import Pipeline, settings_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

MOMENTS = 40
ROUND_SECONDS = 0.12
END_SECONDS = 5.0


async def test_a_supervisor_cancelled_at_any_moment_ends(running_pipeline: Pipeline) -> None:
    """No library on the way swallows the cancellation: measured, one in a few did."""
    infrastructure = ClusterInfrastructure(settings_of(running_pipeline.cluster), random.Random(1))
    for moment in range(MOMENTS):
        publisher = infrastructure.publisher("cancelled", timeout_seconds=2.0)
        supervising = asyncio.create_task(publisher.run())
        await asyncio.wait({supervising}, timeout=ROUND_SECONDS * moment / MOMENTS)
        supervising.cancel()
        ended, _ = await asyncio.wait({supervising}, timeout=END_SECONDS)
        assert ended, f"still running after a cancellation in moment {moment}"
