"""The store: the real scripts in a fakeredis that may be away, frozen or full, behind wires that may break.

A command is carried out at one instant, a pipeline one command after another, with others' in between now and
then. What a client no longer waits for is carried out all the same once the store can.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Any, Final, Protocol

from fakeredis import FakeServer, FakeStrictRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError, OutOfMemoryError, RedisError

from shared import keyspace
from shared.keyspace import NotificationStatus
from shared.redis.client import Redis
from tests.simulator.network import Cut, Network
from tests.simulator.processes import current
from tests.simulator.trace import Trace
from tests.simulator.weather import Weather

WRITING: Final = frozenset({"EVAL", "EVALSHA", "SET", "HSET"})
"""What a full store refuses, of the commands that the pipeline sends."""
SCRIPTS: Final = frozenset({"EVAL", "EVALSHA"})
ACCEPTANCES: Final = keyspace.claim("")
CHOICES: Final = keyspace.declined(keyspace.Channel.MAIL)
CLAIMS: Final = keyspace.notification_claim("")
UNCONFIRMED_KEYS: Final = 2
"""How many keys the notifier's script for unconfirmed letters takes; its others take more."""
REFUSABLE: Final = ("DECRBY", "HINCRBY", "SADD", "INCR", "HSET", "HDEL", "ZADD", "ZREM", "SET", "DEL")
"""What a right may be missing for in the middle of a script."""
RIGHTS: Final = """
local call = redis.call
redis.acl_check_cmd = function(name) return name ~= redis.refused end
redis.call = function(name, ...)
  if name == redis.refused then error('NOPERM this user has no permissions to run ' .. name) end
  return call(name, ...)
end
"""
"""What Redis does about rights in scripts, and fakeredis does not."""
INTERLEAVING_SECONDS: Final = 0.001

Command = tuple[tuple[Any, ...], dict[str, Any]]


class Witness(Protocol):
    """Sees what the store is told about notifications."""

    def claimed(self, event_id: str, by: str, customer: str | None, at: float) -> None:
        """A process was granted a lease on this customer's event, at this time of the loop."""

    def declined(self, event_id: str, customer: str | None) -> None:
        """An attempt was told that this customer, whose event it is, wants no mail."""

    def chose(self, customer: str, *, declines_mail: bool) -> None:
        """A customer has chosen."""

    def settled(self, event_id: str) -> None:
        """It is known that the customer was not to be told."""

    def noted(self, event_id: str, by: str) -> None:
        """A process has told of a letter that is not answered yet."""

    def marked(self, event_id: str) -> None:
        """It is known to be sent."""


class PriceWitness(Protocol):
    """Sees at which prices orders are accepted."""

    def answered(self, keys: Sequence[str], given: Sequence[Any], result: Sequence[Any]) -> None:
        """The accept script was run with these keys and arguments."""


class Condition(Enum):
    """How the store is."""

    WELL = auto()
    AWAY = auto()
    FROZEN = auto()
    FULL = auto()
    REFUSING = auto()


class CompiledScripts:
    """fakeredis' Lua, which compiles a script at its first run only and leaves the garbage to Lua itself."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._compiled: dict[str | bytes, Any] = {"collectgarbage()": lambda: None}
        self.table_from = runtime.table_from
        self.globals = runtime.globals

    def execute(self, script: str | bytes) -> Any:
        """What the script returns. Raises LuaError."""
        compiled = self._compiled.get(script)
        if compiled is None:
            compiled = self._compiled[script] = self._runtime.compile(script)
        return compiled()


class StoreServer:
    """One fakeredis for many simulations: its Lua takes longer to start than most of them to run."""

    def __init__(self) -> None:
        self._server = FakeServer(version=(7,))
        self._client: Any = FakeStrictRedis(server=self._server, decode_responses=True)
        self._connection: Any = self._client.connection_pool.get_connection()
        self.carry_out("EVAL", "return 1", 0)
        server: Any = self._server
        server._lua_runtime.execute(RIGHTS)
        self._rights = server._lua_runtime.globals()[b"redis"]
        server._lua_runtime = CompiledScripts(server._lua_runtime)

    def refuse(self, command: str | None) -> None:
        """From now on no script has the right to run this command, as after ``ACL SETUSER default -...``."""
        self._rights[b"refused"] = None if command is None else command.encode()

    def empty(self) -> None:
        """Forgets all data, every script and every missing right."""
        self.refuse(None)
        self.carry_out("FLUSHALL")
        self.forget_scripts()

    def forget_scripts(self) -> None:
        """As a restart does."""
        self._server.script_cache.clear()

    def carry_out(self, *arguments: Any, **options: Any) -> Any:
        """Runs one command now, past all faults. Raises RedisError."""
        command, *rest = arguments
        fields = (*command.split(), *rest)
        # Straight to where a command is run: writing and reading the protocol is a tenth of a simulation.
        self._connection._sock._process_command(
            [each if isinstance(each, bytes) else str(each).encode() for each in fields]
        )
        return self._client.parse_response(self._connection, arguments[0], **options)


class SimulatedStore:
    """The store's side of the wire in one simulation."""

    def __init__(
        self,
        server: StoreServer,
        network: Network,
        weather: Weather,
        trace: Trace,
        witness: Witness,
        prices: PriceWitness,
    ) -> None:
        self.server = server
        self._network = network
        self._weather = weather
        self._trace = trace
        self._witness = witness
        self._prices = prices
        self._condition = Condition.WELL
        self._thawed = asyncio.Event()
        self._thawed.set()

    def client(self) -> Redis:
        """A client as a process of the pipeline has one."""
        return SimulatedRedis(self)

    def become(self, condition: Condition, refused: str | None = None) -> None:
        """Changes how the store is from now on. One that was away comes back without its scripts; one that
        refuses has a command that no script may run."""
        self.server.refuse(refused)
        if condition is Condition.AWAY:
            self.server.forget_scripts()
        self._condition = condition
        if condition is Condition.FROZEN:
            self._thawed.clear()
        else:
            self._thawed.set()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The result of each, a RedisError where one failed. Raises RedisError where the connection broke."""
        passage = self._weather.to_store(len(commands))
        served = len(commands) // 2 if passage.cut is Cut.MIDWAY else len(commands)
        self._trace.note(f"store <- {_brief(commands)} {passage.cut.name.lower()}")

        process = current()
        by = process.name if process else ""
        if process is not None:
            process.asks(_key(commands[0][0]))

        def serve() -> Awaitable[list[Any]]:
            return self._serve(commands[:served], by)

        return await self._network.ask(serve, passage, lambda: RedisConnectionError("connection lost"))

    async def _serve(self, commands: Sequence[Command], by: str) -> list[Any]:
        results: list[Any] = []
        for index, (arguments, options) in enumerate(commands):
            if index and self._weather.lets_others_in():
                await asyncio.sleep(INTERLEAVING_SECONDS)
            await self._thawed.wait()
            if self._condition is Condition.AWAY:
                raise RedisConnectionError("connection refused")
            results.append(self._carry_out(arguments, options))
            self._tell(arguments, results[-1], by)
        return results

    def _carry_out(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if self._condition is Condition.FULL and arguments[0] in WRITING:
            return OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        try:
            result = self.server.carry_out(*arguments, **options)
        except RedisError as error:
            result = error
        if self._trace.is_kept:
            shown = "an id" if arguments[0] == "XADD" else repr(result)  # ids have the time of this machine
            self._trace.note(f"store: {_brief([(arguments, options)])} -> {shown:.100}")
        return result

    def _tell(self, arguments: tuple[Any, ...], result: Any, by: str) -> None:
        """Lets witnesses know of prices that were fixed, and of notifications that were claimed or marked."""
        if arguments[0] in SCRIPTS and str(arguments[3]).startswith(ACCEPTANCES) and isinstance(result, list):
            first_argument = 3 + arguments[2]
            self._prices.answered(arguments[3:first_argument], arguments[first_argument:], result)
        if arguments[0] in SCRIPTS and arguments[3] == CHOICES and result == 1:
            customer, declines_mail = arguments[3 + arguments[2] :][:2]
            self._witness.chose(customer, declines_mail=bool(declines_mail))
        if arguments[0] not in SCRIPTS or not str(arguments[3]).startswith(CLAIMS):
            return
        event_id, given = str(arguments[3]).removeprefix(CLAIMS), arguments[3 + arguments[2] :]
        if isinstance(result, list) and result[0] in ("claimed", "declined"):
            customer = self.server.carry_out("HGET", keyspace.order(event_id.partition(":")[0]), "customer")
            if result[0] == "declined":
                self._witness.declined(event_id, customer)
            else:
                self._witness.claimed(event_id, by, customer, asyncio.get_running_loop().time())
        elif result == 1 and given[2] == NotificationStatus.DECLINED:
            self._witness.settled(event_id)
        elif isinstance(result, int) and str(given[2]).startswith(NotificationStatus.SENT):
            self._witness.marked(event_id)
        elif arguments[2] == UNCONFIRMED_KEYS and result == 1 and given[4]:
            self._witness.noted(event_id, by)


_UNUSED: Final = ConnectionPool()
"""Making one per client looks up library versions, which takes longer than all else in a process's life."""


class SimulatedRedis(Redis):
    """redis-py's asyncio client, whose commands go over the simulated wire."""

    def __init__(self, store: SimulatedStore) -> None:
        super().__init__(connection_pool=_UNUSED)
        self._store = store

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """See Redis. Raises RedisError."""
        (result,) = await self._store.ask([(args, options)])
        if isinstance(result, RedisError):
            raise result
        return result

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> "SimulatedPipeline":
        """See Redis; the pipeline's own code uses none with transactions."""
        assert not transaction, "MULTI is not simulated"
        return SimulatedPipeline(self, self._store.ask)


class SimulatedPipeline(Pipeline):
    """Commands that go out in one request."""

    def __init__(self, redis: Redis, ask: Callable[[Sequence[Command]], Awaitable[list[Any]]]) -> None:
        super().__init__(redis.connection_pool, {}, False, None)
        self._ask = ask

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """See Pipeline."""
        commands, self.command_stack = self.command_stack, []
        results = await self._ask([(arguments, dict(options)) for arguments, options in commands])
        for result in results:
            if raise_on_error and isinstance(result, RedisError):
                raise result
        return results


def _brief(commands: Sequence[Command]) -> str:
    """The first command's name and key, for the trace; of scripts the key says which."""
    arguments, _ = commands[0]
    key = _key(arguments)
    more = f" +{len(commands) - 1}" if len(commands) > 1 else ""
    return f"{arguments[0]} {key:.40}{more}"


def _key(arguments: tuple[Any, ...]) -> str:
    """The first key."""
    at = 3 if arguments[0] in SCRIPTS else 1
    return str(arguments[at]) if len(arguments) > at else ""
