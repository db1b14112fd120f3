"""Power cuts: what of an agent's state directory is on the disk at a moment of no warning."""
