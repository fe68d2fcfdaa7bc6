"""The operator's command: runs the whole pipeline on this machine, breaks parts of it, and looks inside."""
