"""Tests of running on the CPU."""
