"""Checks of how a model is judged: `EVA`."""
