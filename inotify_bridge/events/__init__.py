"""Changes and notices as CloudEvents: the catalogue, names as text, the envelope, the digest, the schemas."""
