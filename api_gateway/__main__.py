"""``python -m api_gateway``"""

import random

from api_gateway.main import run
from api_gateway.settings import GatewaySettings
from shared.service.infrastructure import ClusterInfrastructure
from shared.service.lifecycle import run_service
from shared.settings import CommonSettings, load


def main() -> None:
    """Reads the settings and runs the service."""
    common, own = load(CommonSettings), load(GatewaySettings)
    infrastructure = ClusterInfrastructure(common, random.Random())
    run_service("api_gateway", common, lambda stop: run(common, own, infrastructure, stop))


if __name__ == "__main__":
    main()
