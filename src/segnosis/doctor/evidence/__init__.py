"""One file = one measured fact; the only rooms of the doctor that measure.

A module declares `PRICE` (`"static"`, `"data"`, `"batch"`, `"gradient"`, `"train"` or `"history"`) and either
`measure(...)` or a class `Scan(...)` with `add(pair)` and `result()`; see `segnosis.doctor.examine.Evidence`.
"""


class Unavailable(Exception):  # noqa: N818 - a state of affairs that checks answer with, not a failure
    """The fact cannot be measured on this case, for the reason given; checks that need it abstain."""
