"""Transformations: graph to graph, changing what is computed."""
