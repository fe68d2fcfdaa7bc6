"""The broker ports over a RabbitMQ cluster: the only package that knows AMQP."""
