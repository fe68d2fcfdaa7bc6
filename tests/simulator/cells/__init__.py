"""Several pipelines beside one another, as ``docs/scale.md`` has them: customers routed by slot, slots that move from
cell to cell under load, and stock that is lent between them.

Each cell is the real gateway, relay, broker in memory, processor and scripts over a store of its own, in the same
virtual time; only what stands between cells is new here. ``python -m tests.simulator.cells --seeds 0-9999``.
"""
