"""Redis: the client with our deadlines, and Lua scripts that are loaded by name."""
