"""The pipeline's promise as something to look at: a load, a dead broker, the gap, the recovery, the proof."""
