"""``python -m opensafemlrm`` is ``safemlrm``."""

from opensafemlrm.cli import main

main()
