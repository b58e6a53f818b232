"""Models behind an HTTP API, and servers started for them."""
