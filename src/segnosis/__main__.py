"""`python -m segnosis` is `segnosis`."""

from segnosis.cli.main import main

main()
