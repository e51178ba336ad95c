"""Memory for the results of calls."""
