"""Messages between services: the ports, the router, and the adapters for RabbitMQ and for memory."""
