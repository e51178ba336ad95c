"""The command line: `tracejit trace`, `tracejit opt`, `tracejit demo`."""
