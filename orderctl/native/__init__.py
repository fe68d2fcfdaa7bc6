"""The native mode: RabbitMQ, Redis and the services as plain processes of this machine.

`cluster.NativeCluster` and `services.NativeServices` are plain libraries without terminal output, so that
the tests start their own brokers and services through the very code that `orderctl up` uses.
"""
