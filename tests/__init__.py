"""A package, so that no ``tests`` of another distribution takes its place."""
