"""Orders in Redis: the only package that writes them, by scripts of which each is all or nothing."""
