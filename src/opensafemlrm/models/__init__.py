"""Models and the servers that run them: one file each, plus one row in the registry."""
