"""What is measured, each by `python -m benchmarks.NAME [--json FILE]`; each starts what it measures, and stops it."""
