"""Models that need no key and no GPU: simulated ones, and the organisms that ship."""
