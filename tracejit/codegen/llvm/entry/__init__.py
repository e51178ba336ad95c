"""The native call entry: machine code that runs a call from a table of steps."""
