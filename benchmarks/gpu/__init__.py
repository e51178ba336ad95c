"""``python -m benchmarks gpu``: ours beside PyTorch, Inductor and JAX on a CUDA device.

Needs a CUDA device, Triton and PyTorch; JAX where it is installed. Each row is one
program in plain NumPy with its twins; every contender's result is compared with float64
before it is timed, in rounds that contenders take turns in. Rows are written to the
results as they come, so that a run that is cut short leaves what it measured.
"""
