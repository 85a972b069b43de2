"""Tests of the benchmarks: that they would notice."""
