"""The Helm charts: how helm is got, what it makes of the examples, and what must agree with what."""
