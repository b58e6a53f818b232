"""Seeing that a model behind an API was changed, without paying for a whole run."""

from typing import Final

SHARE: Final = 0.1
"""How many of a model's requests in a whole run a probe may take."""
ERROR: Final = 0.005
"""How often a probe sees a change that is none."""
REFERENCE: Final = 4
"""Replies to each of the probe's requests that new ones are compared with at first."""
