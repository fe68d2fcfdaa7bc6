"""Shows the state of the whole pipeline. Reads the store and the brokers, and writes to neither."""
