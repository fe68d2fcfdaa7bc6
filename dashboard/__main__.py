"""``python -m dashboard``"""

import random

from dashboard.main import run
from dashboard.settings import DashboardSettings
from shared.service.infrastructure import ClusterInfrastructure
from shared.service.lifecycle import run_service
from shared.settings import CommonSettings, load


def main() -> None:
    """Reads the settings and runs the service."""
    common, own = load(CommonSettings), load(DashboardSettings)
    infrastructure = ClusterInfrastructure(common, random.Random())
    run_service("dashboard", common, lambda stop: run(common, own, infrastructure, stop))


if __name__ == "__main__":
    main()
