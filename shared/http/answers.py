"""Answers in JSON."""

import orjson
from aiohttp import web

from shared.http.negotiation import JSON


def json_response(value: object) -> web.Response:
    """A 200 with JSON. Times are in UTC, written with a Z."""
    return web.Response(body=orjson.dumps(value, option=orjson.OPT_UTC_Z), headers={"Content-Type": JSON})
