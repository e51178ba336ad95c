"""What to write instead of functions and methods of NumPy that do not trace.

Errors name one of these as the next thing to try. Functions whose result has a shape
that depends on the data have theirs where they raise.
"""

_SHOWN = "tj.debug.print shows values when the compiled function runs"
_FILES = "return the value and write it outside of the jitted function"
_READ = "read it outside of the jitted function and pass the array in"
_DATES = (
    "count days as integers: x.astype('M8[D]').astype(int) outside of the jitted "
    "function"
)
_OWN_MEMORY = "call it on the array that the jitted function returns"

FUNCTIONS: dict[str, str] = {
    **dict.fromkeys(
        (
            *("array2string", "array_repr", "array_str", "base_repr", "binary_repr"),
            *("format_float_positional", "format_float_scientific"),
        ),
        _SHOWN,
    ),
    **dict.fromkeys(("save", "savetxt", "savez", "savez_compressed"), _FILES),
    **dict.fromkeys(
        ("busday_count", "busday_offset", "datetime_as_string", "is_busday"), _DATES
    ),
    "frombuffer": "x.view(dtype) reads the same bytes as other numbers",
    "fromiter": "np.array([...]) of a list, or np.stack",
    "from_dlpack": _READ,
    "nested_iters": "functions of whole arrays, or tj.scan for a loop over slices",
}
# Of those, the ones that NumPy lets nobody override.
UNDISPATCHED = (
    *("base_repr", "binary_repr", "format_float_positional"),
    *("format_float_scientific", "frombuffer", "fromiter", "from_dlpack"),
    "nested_iters",
)
METHODS: dict[str, str] = {
    **dict.fromkeys(("dump", "dumps", "tofile"), _FILES),
    **dict.fromkeys(("ctypes", "data"), _OWN_MEMORY),
    "tobytes": "x.view(np.uint8) is the bytes as an array",
    **dict.fromkeys(
        ("getfield", "setfield"), "x.view(dtype)[..., k], or x.real and x.imag"
    ),
    "resize": "np.resize(x, shape) makes a new array",
    "setflags": "x.copy(), to have an array of its own",
}
WANTED = (
    "keep to functions of the numpy module called by your own code; to write into an "
    "array, make it inside the function with np.zeros or pass it as an argument; to "
    "read one at traced indices, np.take(array, i, axis)"
)
CONVERTED = WANTED + "; x.astype(np.{dtype}) in place of np.{dtype}(x)"
ATTRIBUTES = {
    "shape": "x = x.reshape(shape), a view where NumPy gives one",
    "dtype": "x = x.view(dtype)",
    "strides": "x = x.reshape(shape), or a slice with steps",
}
ELSEWHERE = "compute it outside of the jitted function and pass it in"
