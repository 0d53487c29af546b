"""The command line: one file a command. A file here is light; it loads what it needs when it runs."""

import time

NOT_UNITS = {"main", "pages", "screen"}

BEGAN = time.monotonic()
"""When the command began: what it loads from here on is part of a user's minutes."""
