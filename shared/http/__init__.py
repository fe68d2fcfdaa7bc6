"""One HTTP server for every port of every service: its limits, problems, hosts, metrics and routes."""
