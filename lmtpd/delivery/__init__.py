"""From an accepted transaction to one outcome per recipient: the seven steps of a delivery."""
