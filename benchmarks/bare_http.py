"""The HTTP ceiling: aiohttp on the same routes with nothing behind them."""

import argparse
import asyncio
import signal

import orjson
import uvloop
from aiohttp import web


async def place(request: web.Request) -> web.Response:
    """Reads the order and answers as if it had been accepted."""
    order_id = orjson.loads(await request.read())["id"]
    body = orjson.dumps({"id": order_id, "status": "accepted", "message": f"Order received: {order_id}"})
    return web.Response(status=202, body=body, headers={"Content-Type": "application/json"})


async def take(request: web.Request) -> web.Response:
    """Takes spans and forgets them."""
    await request.read()
    return web.Response()


async def run(port: int, product: bytes) -> None:
    """Serves until SIGTERM. ``product`` is what every product is answered with."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=product, headers={"Content-Type": "application/json"})

    app = web.Application()
    app.router.add_post("/orders", place)
    app.router.add_get("/products/{sku}", show)
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Reads the options and runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--product", default="{}")
    options = parser.parse_args()
    uvloop.run(run(options.port, options.product.encode()))


if __name__ == "__main__":
    main()
