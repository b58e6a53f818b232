"""A data set and an attack for opensafemlrm, in a package of their own."""
