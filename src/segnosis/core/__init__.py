"""Floor 0: the few things every other floor speaks with. Standard library and numpy only."""
