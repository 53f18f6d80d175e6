"""Side by side with peers and limits: `python -m benchmarks.NAME --help`. Never part of the tests."""
