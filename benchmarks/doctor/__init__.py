"""The doctor's fault table: planted faults, pairs of them, and healthy programs that look unpleasant.

A program is composed of orthogonal choices: pictures, network, feed, head, target, loss, size. A fault is one function
that changes one ingredient of it, an oddity likewise without doing harm; every program is a script that calls `fit`
(or `train_on_batch`) and is examined as `segnosis diagnose` does it, in a process that it cannot take others with.

    python -m benchmarks.doctor [--ways 3] [--real 1]                the fixed table: every fault in several ways
    python -m benchmarks.doctor --sample 120 60 20 --seed 7          random compositions: planted, healthy, pairs
    python -m benchmarks.doctor --sample 40 20 0 --held-out          with pieces that no check was ever mended on
    python -m benchmarks.doctor --people                             scripts in other people's styles, edited
    python -m benchmarks.doctor --prove-truth                        are they faults? trains each beside its twin

`--only CODE` chooses, `--log FILE` lets a stopped run go on. What is proven to do no harm is left out, by name.

The cause is right when the first finding that is proven or confirmed (or, where there is none, suspected) is the fault
that was planted, or a code that names the same thing. Faults that only a history shows are trained to their end first.
A new fault or oddity is a function in a file `faults_*.py` or `oddities_*.py`; a new style is a function in
`networks.py`, `feeds.py`, `losses.py` or `pictures.py`, and its name in `catalogue.py`.
"""
