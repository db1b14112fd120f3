"""The durable middle: store, journal, relay."""
