"""Stock: what is available, what is held, what it costs."""
