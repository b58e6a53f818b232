"""Models that are asked over the network, and servers started for them."""
