"""Confirmed publishing on one channel, below the library's ``basic_publish``.

That takes a lock, three contexts, a timer and a walk through every field of every frame for each message, ten
times what is left here. The library still owns the channel: it reads confirms and returns, and finds in
the channel's own tables who waits for them.
"""

import asyncio
import secrets
import struct
from collections import deque
from itertools import count
from typing import Any, Final

import pamqp.frame
from aiormq import spec
from aiormq.abc import ChannelFrame
from aiormq.channel import Channel, Returning
from aiormq.exceptions import AMQPError, PublishError
from pamqp import constants, encode

from shared.errors import BrokerUnavailable, Unroutable
from shared.messages import is_batch
from shared.messaging.batching import no_answer
from shared.messaging.ports import OutgoingMessage
from shared.messaging.rabbitmq.connection import words_of

CONTENT_TYPE: Final = "application/cloudevents+json"
BATCH_CONTENT_TYPE: Final = "application/cloudevents-batch+json"
PERSISTENT: Final = 2

_HEADER: Final = struct.Struct(">BHIHHQ")
"""Frame type, channel, length of what follows, class, weight, length of the body."""
_FRAME: Final = struct.Struct(">BHI")
_FLAGS: Final = struct.Struct(">H")
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE, _CORRELATION_ID, _EXPIRATION, _MESSAGE_ID = (
    1 << 15,
    1 << 13,
    1 << 12,
    1 << 10,
    1 << 8,
    1 << 7,
)
_ALWAYS: Final = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID


class ConfirmedPublishing:
    """Publishes persistent messages on ``channel``, which must be in confirm mode and ours alone.

    A message that is not confirmed within ``timeout_seconds`` fails with BrokerUnavailable.
    """

    def __init__(self, channel: Channel, *, timeout_seconds: float) -> None:
        self._channel = channel
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._prefix = secrets.token_hex(8)
        self._numbers = count()
        self._methods: dict[tuple[str, str, bool], bytes] = {}
        self._unsent: deque[bytes] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._closed: str | None = None
        channel.closing.add_done_callback(self._on_closed)

    async def publish(self, message: OutgoingMessage) -> None:
        """Returns with the confirm. Raises Unroutable, and BrokerUnavailable where the outcome is unknown."""
        if self._closed is not None:
            raise BrokerUnavailable(self._closed)
        channel = self._channel
        message_id = f"{self._prefix}-{next(self._numbers)}"
        frames = self._frames(message, message_id)
        channel.delivery_tag += 1
        confirmation = channel.confirmations[channel.delivery_tag] = self._loop.create_future()
        channel.message_id_delivery_tag[message_id] = channel.delivery_tag
        timer = self._loop.call_later(self._timeout_seconds, self._expire, confirmation)
        self._send(frames)
        try:
            await confirmation
        except PublishError as error:
            raise Unroutable(f"no queue takes {message.routing_key!r} from {message.exchange!r}") from error
        except AMQPError as error:
            raise BrokerUnavailable(f"publishing: {words_of(error)}") from error
        finally:
            timer.cancel()
            del channel.message_id_delivery_tag[message_id]

    def _frames(self, message: OutgoingMessage, message_id: str) -> bytes:
        """All frames of one message. Raises ValueError and TypeError for what no frame can carry."""
        route = (message.exchange, message.routing_key, message.mandatory)
        method = self._methods.get(route)
        if method is None:
            method = self._methods[route] = self._method(*route)
        properties = _properties(message, message_id)
        body, number, largest = message.body, self._channel.number, self._channel.max_content_size
        pieces = [
            method,
            _HEADER.pack(
                constants.FRAME_HEADER,
                number,
                _HEADER.size - _FRAME.size + len(properties),
                spec.Basic.frame_id,
                0,
                len(body),
            ),
            properties,
            constants.FRAME_END_CHAR,
        ]
        for start in range(0, len(body), largest):
            piece = body[start : start + largest]
            pieces += (
                _FRAME.pack(constants.FRAME_BODY, number, len(piece)),
                piece,
                constants.FRAME_END_CHAR,
            )
        return b"".join(pieces)

    def _method(self, exchange: str, routing_key: str, mandatory: bool) -> bytes:
        publish = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
        return pamqp.frame.marshal(publish, self._channel.number)

    def _send(self, frames: bytes) -> None:
        """Hands frames to the connection's writer in the order of their delivery tags."""
        if self._sending is None:
            try:
                self._channel.write_queue.put_nowait(_outgoing(frames))
            except asyncio.QueueFull:
                self._unsent.append(frames)
                self._sending = self._loop.create_task(self._send_all())
        else:
            self._unsent.append(frames)

    async def _send_all(self) -> None:
        """Sends what has gathered, until nothing has. A writer that ends leaves it waiting: `_on_closed`."""
        while self._unsent:
            frames = b"".join(self._unsent)
            self._unsent.clear()
            await self._channel.write_queue.put(_outgoing(frames))
        self._sending = None

    def _expire(self, confirmation: "asyncio.Future[Any]") -> None:
        if not confirmation.done():
            confirmation.set_exception(no_answer(self._timeout_seconds))

    def _on_closed(self, closing: "asyncio.Future[Any]") -> None:
        error = None if closing.cancelled() else closing.exception()
        self._closed = f"the channel was closed: {words_of(error)}" if error else "the channel was closed"
        if self._sending is not None:
            self._sending.cancel()
        for confirmation in self._channel.confirmations.values():
            if not confirmation.done() and not isinstance(confirmation, Returning):
                confirmation.set_exception(BrokerUnavailable(self._closed))


def _outgoing(frames: bytes) -> ChannelFrame:
    return ChannelFrame(payload=frames, should_close=False)


def _properties(message: OutgoingMessage, message_id: str) -> bytes:
    """Flags, then the properties in the order of their flags."""
    flags = _ALWAYS
    content_type = _BATCH_CONTENT_TYPE_TEXT if is_batch(message.body) else _CONTENT_TYPE_TEXT
    headers = (content_type, encode.field_table(dict(message.headers)), _DELIVERY_MODE_OCTET)
    correlation_id = expiration = b""
    if message.correlation_id:
        flags |= _CORRELATION_ID
        correlation_id = encode.short_string(message.correlation_id)
    if message.expiration_seconds is not None:
        flags |= _EXPIRATION
        milliseconds = max(1, round(message.expiration_seconds * 1000))
        expiration = encode.short_string(str(milliseconds))
    return b"".join(
        (_FLAGS.pack(flags), *headers, correlation_id, expiration, encode.short_string(message_id))
    )


_CONTENT_TYPE_TEXT: Final = encode.short_string(CONTENT_TYPE)
_BATCH_CONTENT_TYPE_TEXT: Final = encode.short_string(BATCH_CONTENT_TYPE)
_DELIVERY_MODE_OCTET: Final = encode.octet(PERSISTENT)
