"""The whole agent: a process on real directories, real brokers, and consumers that share nothing with it."""
