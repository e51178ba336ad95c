"""The graph IR: avals, primitives, graphs, text form, verifier, interpreter."""
