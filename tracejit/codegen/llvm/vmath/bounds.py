"""The error bounds that the vector math promises, in units in the last place.

Of every instruction-set family; what is measured is in ``docs/numerics.md``. Tests
fail when a result is worse.
"""

# name: (float32, float64)
_BOUNDS = {
    "exp": (0.95, 1.2),
    "exp2": (0.95, 1.3),
    "expm1": (1.0, 1.0),
    "sigmoid": (0.6, 1.2),
    "tanh": (1.7, 1.6),
    "sinh": (0.6, 1.9),
    "cosh": (0.6, 1.2),
    "log": (0.95, 1.0),
    "log2": (1.0, 0.95),
    "log10": (0.9, 0.9),
    "log1p": (1.0, 1.0),
    "sin": (0.9, 1.0),
    "cos": (0.9, 1.0),
    "tan": (1.25, 1.2),
    "arcsin": (1.2, 1.3),
    "arccos": (1.2, 1.3),
    "arctan": (1.9, 1.9),
    "arctan2": (0.6, 1.9),
    "arcsinh": (0.7, 1.8),
    "arccosh": (0.7, 2.3),
    "arctanh": (0.7, 2.0),
    "erf": (1.2, 1.4),
    "erfc": (0.7, 4.2),
    "cbrt": (0.51, 0.51),
    "hypot": (0.51, 0.6),
    "pow": (0.6, 1.0),
}
# logaddexp is near zero where its terms cancel: there, as in NumPy, the error is this
# many units of the larger argument, not of the result.
_LOGADDEXP = (0.6, 1.7)

ULP_BOUNDS: dict[tuple[str, str], float] = {
    (name, dtype): bound
    for name, bounds in (_BOUNDS | {"logaddexp": _LOGADDEXP}).items()
    for dtype, bound in zip(("f32", "f64"), bounds, strict=True)
}
