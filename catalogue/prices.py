"""Prices in the primary Redis, beside the orders that they are read for."""

from collections.abc import Mapping, Sequence

from catalogue.model import Product
from shared import keyspace
from shared.redis.client import BrokenKey, Redis, outage, store_deadline
from shared.redis.scripts import Script, ScriptCall


class RedisPriceBoard:
    """In ``product:{sku}`` of the primary Redis, newer versions only."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._project = Script.load("catalogue", "project")

    async def show(self, products: Sequence[Product]) -> Mapping[str, int]:
        calls = [
            ScriptCall(
                [keyspace.product(each.sku)],
                [each.version, int(each.deleted), each.unit_amount, each.currency, each.name],
            )
            for each in products
        ]
        async with store_deadline(self._timeout_seconds):
            newer = await self._project.run_many(self._redis, calls)
        for each in newer:
            if isinstance(each, BrokenKey):
                raise outage(each) from each
        return {each.sku: int(version) for each, version in zip(products, newer, strict=True) if version}
