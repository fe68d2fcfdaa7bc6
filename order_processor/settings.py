"""The processor's settings: variables that begin with ``PROCESSOR_``."""

from shared.pipeline import ORDER_PROCESSOR
from shared.service.worker import WorkerSettings
from shared.settings import Port, settings_config


class ProcessorSettings(WorkerSettings):
    """How much the processor takes at a time, and its deadlines."""

    model_config = settings_config(f"{ORDER_PROCESSOR.settings}_")

    ops_port: Port = ORDER_PROCESSOR.operations_port
