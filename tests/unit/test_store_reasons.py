"""Why the store cannot be used is said in the same words to each part that asks."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from shared.redis.client import outage


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("upstream failure"),
        NoPermissionError("this user has no permissions to run the 'get' command"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ResponseError("a \"quoted\" (part), and 'another'"),
    ],
)
async def test_a_pipeline_says_what_a_single_command_says(error: ResponseError) -> None:
    """The library puts number and command around the store's own words; readiness does not."""
    alone = str(outage(error))
    async with Redis() as redis, redis.pipeline() as pipeline:
        pipeline.annotate_exception(error, 2, ("GET", "orders.processed.count"))
    assert str(outage(error)) == alone
    assert str(error) not in alone
