"""Speed and memory of `ddrs` beside the bare model and beside other packages.

    python -m benchmarks            the comparison, into benchmarks/results/
    python -m benchmarks gradient   Algorithm 1 beside its forward and backward passes alone
    python -m benchmarks profile    where the time of a certification goes, by stage

The process that compares imports neither torch nor what is measured: every arm is a process of its
own (`worker.py`), so its peak memory is its own, and arms take turns.
"""
