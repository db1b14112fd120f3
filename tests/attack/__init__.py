"""Tests with an adversary who may write anything into the watched directory."""
