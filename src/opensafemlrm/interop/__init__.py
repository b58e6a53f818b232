"""Results of other tools, read into a store."""
