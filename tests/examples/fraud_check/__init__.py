"""An example of one more consumer: looks at every created order and sets suspicious ones aside."""
