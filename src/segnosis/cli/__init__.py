"""The command line: one file a command. A file here is light; it loads what it needs when it runs."""

NOT_UNITS = {"main", "screen"}
