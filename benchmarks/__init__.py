"""What the pages of ``docs/results*`` and ``docs/benchmarks`` are made with: ``python -m benchmarks.NAME --help``.

``quality`` (scores), ``peers.synthesis`` and ``peers.training`` (speed beside other projects), ``peers.interop`` (equal
outputs), ``kernels`` and ``kernels.consistency``, ``serving``, ``corpus``, ``evaluate``, ``long_audio``, ``listening``
(intervals), ``conventions`` and ``columns`` (what a metric hears). Run them from the repository's root.
"""
