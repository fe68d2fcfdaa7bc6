"""`python -m orderctl.embedded`: what `orderctl up --mode embedded` starts in the background."""

import argparse
import asyncio
import contextlib
from pathlib import Path
from typing import Final

from orderctl.embedded import PROCESS
from orderctl.embedded.logs import logs_by_service
from orderctl.embedded.process import run
from orderctl.native.layout import Layout
from orderctl.native.ports import POSTGRES
from shared.service.lifecycle import run_service, running
from shared.service.program import program_of
from shared.services import SERVICES
from shared.settings import CommonSettings, load

TRIM_SECONDS: Final = 1.0


def main() -> None:
    """Reads the settings and runs all services."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    layout = Layout(parser.parse_args().data_dir)
    common = load(CommonSettings)
    settings = {name: load(program_of(name).settings) for name in SERVICES}

    async def everything(stop: asyncio.Event) -> None:
        with logs_by_service(layout, list(SERVICES)):
            async with running(_trim(layout)):
                await run(common, settings, layout.part(POSTGRES), stop)

    run_service(PROCESS, common, everything)


async def _trim(layout: Layout) -> None:
    """Bounds what this process prints itself, as the supervisor does in native mode."""
    while True:
        with contextlib.suppress(OSError):
            layout.trim_log(PROCESS)
        await asyncio.sleep(TRIM_SECONDS)


if __name__ == "__main__":
    main()
