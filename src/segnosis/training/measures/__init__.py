"""What an evaluation measures beyond overlap; one file = one measure, its result in `scores.json` under its name."""

NOT_UNITS = ("base",)
