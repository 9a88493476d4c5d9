"""Data for the bundled models, used by the demo, the tests and the benchmarks."""
