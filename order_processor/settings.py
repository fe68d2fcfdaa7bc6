"""The processor's settings: variables that begin with ``PROCESSOR_``."""

from shared.service.worker import WorkerSettings
from shared.settings import Port, settings_config


class ProcessorSettings(WorkerSettings):
    """How much the processor takes at a time, and its deadlines."""

    model_config = settings_config("PROCESSOR_")

    ops_port: Port = 9101
