"""The doctor's fault table: planted faults, their healthy twins, and healthy programs that look unpleasant.

    python -m benchmarks.doctor [--quick] [--only CODE ...] [--prove-truth]

A program is composed of orthogonal choices (network, style, data, feed, head, loss); a fault is one change to it.
Every program is a script that calls `fit`, examined by `segnosis.doctor.script.diagnose_script`.
"""
