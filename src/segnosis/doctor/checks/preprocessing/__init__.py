"""Checks of the preprocessing."""
