"""The tests of tracejit; the folders mirror the package."""
