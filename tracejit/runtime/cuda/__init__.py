"""Running programs on CUDA devices: the driver, memory, arrays, executables.

Nothing here is imported with `tracejit`, and importing it touches no driver.
"""
