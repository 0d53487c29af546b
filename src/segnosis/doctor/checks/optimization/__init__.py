"""Checks of the optimization: `OPT`."""
