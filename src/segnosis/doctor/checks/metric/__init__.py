"""Checks of the metric."""
