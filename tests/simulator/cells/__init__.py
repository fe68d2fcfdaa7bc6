"""Several pipelines beside one another, as ``docs/scale.md`` has them: customers routed by slot, slots that
move from cell to cell under load, and stock that is lent between them.

Each cell is the real gateway, relay, processor and scripts over a store and a broker of its own, in the same
virtual time; only what stands between cells is new here. ``python -m tests.simulator.cells --seeds 0-9999``
looks for a seed that fails.
"""
