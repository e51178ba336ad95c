"""Placeholder until named artifacts land."""


def emit(artifact, message):
    return None
