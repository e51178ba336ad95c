"""Passes: graph to graph, keeping what is computed."""
