"""What operators do to a running agent: signals, commands, reloads."""
