"""``python -m order_processor``"""

import random

from order_processor.main import run
from order_processor.settings import ProcessorSettings
from shared.service.infrastructure import ClusterInfrastructure
from shared.service.lifecycle import run_service
from shared.settings import CommonSettings, load


def main() -> None:
    """Reads the settings and runs the service."""
    common, own = load(CommonSettings), load(ProcessorSettings)
    infrastructure = ClusterInfrastructure(common, random.Random())
    run_service("order_processor", common, lambda stop: run(common, own, infrastructure, stop))


if __name__ == "__main__":
    main()
