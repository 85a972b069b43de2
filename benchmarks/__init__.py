"""How fast the service is and what it costs, beside others: `python -m benchmarks --help`, docs/performance.md."""
