"""Reading a store in a browser or a terminal: what was sent, what came back, how it was judged.

Nothing here writes to a store but a label that a person gives.
"""
