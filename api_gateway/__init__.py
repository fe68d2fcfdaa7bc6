"""Takes orders over HTTP, makes each exactly once durable, and publishes it."""
