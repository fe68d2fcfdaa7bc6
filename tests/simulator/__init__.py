"""The pipeline's own parts in a world that one seed decides: which callback runs next, what fails, who dies.

The real intake, relay, router, handlers, stores and Lua scripts run in one thread, on an event loop whose
time is virtual, over the in-memory broker and an in-process store. Nothing in here waits for a clock, so a
minute of faults takes milliseconds, and a seed that fails fails again in the same way.

``python -m tests.simulator --seeds 0-9999`` looks for one; ``--seed 1234 --trace`` replays it.
"""
