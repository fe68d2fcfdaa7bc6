"""How a service runs: its infrastructure, its life cycle, and the half of ``main`` that consumers share."""
