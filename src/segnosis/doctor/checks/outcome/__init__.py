"""Checks of what a training came to: `OUT`."""
