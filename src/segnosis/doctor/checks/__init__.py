"""One folder a family, one file a check. `segnosis explain CODE` prints a file's docstring."""
