"""The script that the doctor is asked about: `python -m benchmarks.doctor.train NAME` trains one program."""

import sys

from benchmarks.doctor.catalogue import find

program = find(sys.argv[1])
program.recipe(healthy="--twin" in sys.argv).run()
