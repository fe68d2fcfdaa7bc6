"""How fast the pipeline is, as ratios to what the same machine can do at most, measured in one run.

Absolute figures mean nothing on shared machines. Every part that is measured runs in processes of its own, so
that CPU time can be told apart, which a busy neighbour changes far less than it changes the clock.
"""
