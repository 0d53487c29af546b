"""Checks of the head."""
