"""Builds the fraud check from its parts."""

from typing import Final

from fraud_check.handlers import FraudCheckHandler
from shared.messages import OrderCreated
from shared.pipeline import consumption_of
from shared.service.worker import UseCases, Worker, WorkerSettings, consumer
from shared.settings import Port, settings_config

ROW: Final = consumption_of("fraud_check")


class FraudCheckSettings(WorkerSettings):
    """Variables that begin with ``FRAUD_CHECK_``."""

    model_config = settings_config(f"{ROW.settings}_")

    ops_port: Port = ROW.operations_port
    blocked_domain: str = "blocked.example"


def use_cases(worker: Worker[FraudCheckSettings]) -> UseCases:
    """Checks each created order."""
    return UseCases(handlers={OrderCreated: FraudCheckHandler(worker.own.blocked_domain)})


PROGRAM: Final = consumer(ROW, FraudCheckSettings, use_cases)
