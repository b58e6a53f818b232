"""Models and the servers that run them: ``built_in.toml`` says which is in which module."""
