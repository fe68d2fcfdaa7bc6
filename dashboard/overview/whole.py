"""The state of the pipeline as of now, put together from those who watch its parts."""

from collections.abc import Sequence
from pathlib import Path

from dashboard.overview.attention import attention
from dashboard.overview.disks import short_disks
from dashboard.overview.pace import Pace
from dashboard.overview.ports import BrokerObserver, ServiceObserver, StoreReader
from dashboard.overview.state import PipelineState, StoreState
from shared.errors import StoreUnavailable


class Overview:
    """Asks the store, and says it with what was seen last of brokers and services.

    ``data_dir`` is whose disks are looked at, if they are within reach.
    """

    def __init__(
        self,
        store: StoreReader,
        brokers: BrokerObserver,
        services: ServiceObserver,
        data_dir: Path | None = None,
    ) -> None:
        self.store = store
        self.pace = Pace(store)
        self._brokers = brokers
        self._services = services
        self._data_dir = data_dir

    async def state(self) -> PipelineState:
        """Everything, also where the store is away."""
        try:
            return self.around(await self.store.read())
        except StoreUnavailable as error:
            return self.around(None, str(error))

    async def attention(self) -> Sequence[str]:
        """What is not as it should be now."""
        return attention(await self.state())

    def around(self, store: StoreState | None, fault: str | None = None) -> PipelineState:
        """Everything, around what the store said."""
        return PipelineState(
            store=store,
            store_fault=fault,
            broker=self._brokers.state(),
            services=self._services.states(),
            cache_fault=self._services.cache_fault(),
            short_disks=short_disks(self._data_dir),
        )
