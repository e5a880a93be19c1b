"""Training a network: the loop, its processes, its state on disk, and what is seen of it."""
