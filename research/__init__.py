"""Research code: in the repository, not in the wheel."""
