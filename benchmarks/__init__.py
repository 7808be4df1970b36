"""Measurements and the promises they are held to: `python -m benchmarks [NAME ...] [--quick]`."""
