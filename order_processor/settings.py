"""The processor's settings: variables that begin with ``PROCESSOR_``."""

from typing import Annotated

from pydantic import Field

from shared.pipeline import ORDER_PROCESSOR
from shared.service.worker import WorkerSettings
from shared.settings import Count, Port, Seconds, settings_config


class ProcessorSettings(WorkerSettings):
    """How much the processor takes at a time, and its deadlines.

    The simulated payment provider declines what costs more than ``payment_limit``, in the currency's smallest
    unit; ``payment_mishaps`` of a hundred requests to it go wrong.
    """

    model_config = settings_config(f"{ORDER_PROCESSOR.settings}_")

    ops_port: Port = ORDER_PROCESSOR.operations_port
    payment_timeout_seconds: Seconds = 10.0
    payment_limit: Count = 100_000
    payment_mishaps: Annotated[int, Field(ge=0, le=100)] = 0
