"""Measurements: every figure stands beside that of a peer, taken in the same run on the same machine."""
