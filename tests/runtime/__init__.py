"""Tests of running compiled programs."""
