"""``python -m notifier``"""

import random

from notifier.main import run
from notifier.settings import NotifierSettings
from shared.service.infrastructure import ClusterInfrastructure
from shared.service.lifecycle import run_service
from shared.settings import CommonSettings, load


def main() -> None:
    """Reads the settings and runs the service."""
    common, own = load(CommonSettings), load(NotifierSettings)
    infrastructure = ClusterInfrastructure(common, random.Random())
    run_service("notifier", common, lambda stop: run(common, own, infrastructure, stop))


if __name__ == "__main__":
    main()
