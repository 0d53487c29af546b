"""Checks of the labels."""
