"""Shows the state of the whole pipeline, and writes only what is decided about dead letters."""
