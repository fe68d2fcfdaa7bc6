"""`orderctl verify`: the proof that nothing was lost, doubled, oversold or stuck, on a live system."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from orderctl.commands.options import AsJson, DataDir
from orderctl.errors import NotRunningError, OrderctlError
from orderctl.modes import current_system
from orderctl.native.ports import REDIS
from orderctl.terminal import EXIT_FAILED, out, print_json, progress_bar, readable_errors
from shared.urls import checked_database_url, checked_store_url

STORE_VARIABLE = "ORDERCTL_REDIS_URL"
DATABASE_VARIABLE = "ORDERCTL_LEDGER_DATABASE_URL"
_WORDS = {
    "counting": "counting orders",
    "waiting": "waiting until nothing has moved for 30 s",
    "republishing": "putting orders back into the outbox",
    "republished, waiting": "republished; waiting until nothing has moved for 30 s",
}


def verify(
    ledger: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="What `load` wrote: every order in it must be there."),
    ] = None,
    republish: Annotated[
        bool, typer.Option("--republish", help="Put orders that no queue holds any more into the outbox.")
    ] = False,
    as_json: AsJson = False,
    redis_url: Annotated[
        str | None,
        typer.Option("--redis", envvar=STORE_VARIABLE, help="The store, if not the one of this machine."),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option("--database", envvar=DATABASE_VARIABLE, help="The ledger's, beside --redis.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Reconcile every order with everything that speaks of it, while orders flow.

    That is stock, status, events, notifications, payments, the ledger and the numbers of webhooks.

    Status 1 if anything was lost, doubled, oversold or stuck; 2 if the store cannot be read.
    """
    from orderctl.brokers import management_urls
    from orderctl.verification.promises import Promises, read_promises
    from orderctl.verification.report import as_json as report_json, render
    from orderctl.verification.session import StoreAwayError, verify as reconcile
    from orderctl.verification.verification import Stage
    from shared.settings import CommonSettings, load

    with readable_errors(NotRunningError, StoreAwayError):
        load(CommonSettings)  # a wrong value is named before anything is asked
        try:
            checked_store_url(redis_url or "redis://127.0.0.1")
        except ValueError as error:
            raise OrderctlError(f"--redis or {STORE_VARIABLE}: {error}") from error
        try:
            checked_database_url(database_url or "sqlite:////nowhere.db")
        except ValueError as error:
            raise OrderctlError(f"--database or {DATABASE_VARIABLE}: {error}") from error
        system = current_system(data_dir)
        store = redis_url or system.url(REDIS)
        status = system.status()
        is_own = store == status.redis.url
        brokers = management_urls(status) if is_own else ()
        database, webhooks, is_away = database_url, None, False
        if is_own and database is None:
            try:
                database, webhooks = system.database_url("ledger"), system.database_url("webhooks")
            except NotRunningError:
                is_away = True
        promises = read_promises(ledger) if ledger else Promises()
        with progress_bar("reading", quiet=as_json) as update:

            def advanced(stage: Stage) -> None:
                update(
                    description=_WORDS[stage.name],
                    completed=stage.done,
                    total=max(stage.total, stage.done),
                )

            outcome = asyncio.run(
                reconcile(
                    store,
                    promises,
                    management_urls=brokers,
                    ledger_url=database,
                    webhooks_url=webhooks,
                    republish=republish,
                    progress=advanced,
                )
            )
        if is_away:
            outcome.verdict.blame("unrecorded", "ledger", "was not compared: postgres does not run")
        if as_json:
            print_json(report_json(outcome))
        else:
            out.print(render(outcome))
        if not outcome.verdict.passed:
            raise typer.Exit(EXIT_FAILED)
