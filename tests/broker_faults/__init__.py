"""Brokers and networks that fail in every way there is, under a store, a relay and a sink."""
