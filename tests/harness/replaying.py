"""`orderctl replay` as a process, against the cluster of the tests."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from tests.harness.running import Pipeline


async def replay(pipeline: Pipeline, *words: str, tree: Path | None = None) -> Mapping[str, Any]:
    """What the command says, called as the operator of this cluster would."""
    cluster = pipeline.cluster
    where = {"redis": cluster.redis_url, "rabbitmq": ",".join(cluster.rabbitmq_urls)}
    where["database"] = cluster.database_url("ledger")
    options = [f"--{name}={url}" for name, url in where.items()]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orderctl", "replay", "--json", *words, *options),
        cwd=tree,
        env=os.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    report: Mapping[str, Any] = orjson.loads(said)
    return report
