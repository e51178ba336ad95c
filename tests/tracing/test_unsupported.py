"""Every refusal: what NumPy has and does not trace, and each place that raises.

`CALLS` has a call for each entry of the coverage table that does not trace, `PLACES`
one for each place in the source that raises. Both check the message, the user's line
and the next thing to try; that none is missing is checked too.
"""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from ml_dtypes import float8_e5m2
from numpy._core._umath_tests import always_error
from scipy import special

import tracejit as tj
from tests.coverage import samples
from tests.coverage.measure import function_of
from tracejit import tracing
from tracejit.errors import ConcretizationError, UnsupportedError

ARGUMENTS = samples.arguments()
DATA = "shape that depends on the data"

# name: (call, what the message has, what it says to try)
CALLS = {
    "argwhere": ("np.argwhere(b)", DATA, r"np\.where"),
    "flatnonzero": ("np.flatnonzero(b)", DATA, r"np\.where"),
    "nonzero": ("np.nonzero(b)", DATA, "size=n"),
    "unique": ("np.unique(i)", DATA, r"np\.bincount"),
    **{
        f"unique_{k}": (f"np.unique_{k}(i)", DATA, "size=n")
        for k in ("all", "counts", "inverse", "values")
    },
    **{
        name: (f"np.{name}(j, j)", DATA, r"np\.isin")
        for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d")
    },
    "extract": ("np.extract(b, x)", DATA, r"np\.where"),
    "trim_zeros": ("np.trim_zeros(j)", DATA, "slices of a known length"),
    **{
        name: (f"np.{name}('/dev/null', x)", f"numpy.{name} is not traced", "return")
        for name in ("save", "savetxt", "savez", "savez_compressed")
    },
    "frombuffer": ("np.frombuffer(x)", r"np\.frombuffer is not", r"x\.view"),
    "fromiter": ("np.fromiter(v, float)", r"np\.fromiter is not", r"np\.array"),
    "from_dlpack": ("np.from_dlpack(x)", r"np\.from_dlpack is not", "outside"),
    **{
        name: (f"np.{name}(x)", f"numpy.{name} is not traced", r"tj\.debug\.print")
        for name in ("array2string", "array_repr", "array_str")
    },
    **{
        name: (f"np.{name}(i[0, 0])", f"np.{name} is not", r"tj\.debug\.print")
        for name in ("base_repr", "binary_repr")
    },
    **{
        name: (f"np.{name}(x[0, 0])", f"np.{name} is not", r"tj\.debug\.print")
        for name in ("format_float_positional", "format_float_scientific")
    },
    **{
        name: (f"np.{name}({arguments})", f"numpy.{name} is not", "as integers")
        for name, arguments in (
            *(("busday_count", "j, j"), ("busday_offset", "j, j")),
            *(("datetime_as_string", "j"), ("is_busday", "j")),
        )
    },
    "asmatrix": ("np.asmatrix(x)", r"numpy\.matrix", "x @ y"),
    "bmat": ("np.bmat([[x]])", r"numpy\.matrix", "x @ y"),
    "frompyfunc": (
        "np.frompyfunc(abs, 1, 1)(x)",
        r"'abs \(vectorized\)' of Python objects",
        r"tj\.callback\.pure",
    ),
    "nested_iters": ("np.nested_iters(x, [[0]])", "np.nested_iters is", r"tj\.scan"),
}
METHODS = {
    "ctypes": ("x.ctypes", "'ctypes'", "returns"),
    "data": ("x.data", "'data'", "returns"),
    "dump": ("x.dump('/dev/null')", "'dump'", "outside"),
    "dumps": ("x.dumps()", "'dumps'", "outside"),
    "tofile": ("x.tofile('/dev/null')", "'tofile'", "outside"),
    "tobytes": ("x.tobytes()", "'tobytes'", r"x\.view\(np\.uint8\)"),
    "tolist": ("sum(i.tolist()[0]).bit_length()", "bit_length", "static_argnames"),
    "item": ("float(x.item(0))", r"float\(\)", "static_argnames"),
    "getfield": ("x.getfield(np.int32)", "'getfield'", r"x\.view\(dtype\)"),
    "setfield": ("x.setfield(1, np.int32)", "'setfield'", r"x\.view\(dtype\)"),
    "nonzero": ("b.nonzero()", DATA, "size=n"),
    "resize": ("x.resize(2, 2)", "'resize'", r"np\.resize"),
    "setflags": ("x.setflags(write=False)", "'setflags'", r"x\.copy\(\)"),
}
# They take no arrays, so there is nothing of theirs to refuse; `isnat` refuses numbers.
WITHOUT_ARRAYS = {
    *("load", "loadtxt", "fromfile", "genfromtxt", "fromregex", "fromstring"),
    *("get_printoptions", "printoptions", "set_printoptions", "typename"),
    *("datetime_data", "isnat", "get_include", "getbufsize", "geterr", "geterrcall"),
    *("info", "setbufsize", "seterr", "seterrcall", "show_config", "show_runtime"),
    *("test", "row_stack", "in1d", "trapz"),
}


def refused(f, *args, **kwargs):
    """Call what must raise; return its message."""
    with pytest.raises((UnsupportedError, ConcretizationError)) as caught:
        tj.jit(f)(*args, **kwargs)
    return str(caught.value)


def check(text, says, hint, file):
    message, *rest = text.split("\n  at ")
    assert re.search(says, message), text
    assert rest, text
    line, *tries = rest[0].split("\n  try: ")
    assert re.fullmatch(rf"{file}:\d+.*", line), text
    assert tries, text
    assert re.search(hint, tries[0]), text


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", [*CALLS, *(f"x.{n}" for n in METHODS)])
def test_what_does_not_trace(name):
    entry = METHODS[name[2:]] if name.startswith("x.") else CALLS[name]
    expression, says, hint = entry
    check(refused(function_of(expression), **ARGUMENTS), says, hint, "<string>")


def test_every_entry_of_the_table_has_a_call():
    assert set(CALLS) == set(samples.REASONS) - WITHOUT_ARRAYS
    assert set(METHODS) == set(samples.METHOD_REASONS)


X, B = np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3) % 2 == 0
I = np.array([0, 2, 1])  # noqa: E741


def grad_of_int(x):
    return tj.grad(lambda x: x * int(x))(x)


def callback_without_derivative(x):
    like = tj.callback.ShapeDtype(x.shape, x.dtype)
    return tj.grad(lambda x: tj.callback.pure(np.sin, like, x).sum())(x)


def branch(x):
    return x if x else -x


def mapped_branch(x):
    return tj.vmap(lambda row: row if row.sum() > 0 else -row)(x)


OUTSIDE = np.ones(3)


def written_outside(x):
    np.add(x[0], 1, out=OUTSIDE)


def assigned_through_mask(x, b):
    x[b] = x[0]


def mask_beside(x, b):
    return x[b[:, 0], [0, 1]]


def at_mask(x, b):
    np.divide.at(x, b, 2.0)


def shape_set(x):
    x.shape = (3, 2)


OUTSIDE = np.zeros(3)
# what the message says: (function, arguments, what to try)
PLACES = {
    "cannot become a NumPy array": (
        *(lambda x: OUTSIDE.__setitem__(slice(None), x[0]), (X,), r"np\.zeros"),
    ),
    "cannot go from cpu to elsewhere": (
        *(lambda x: x.to_device("elsewhere"), (X,), "tj.to_device"),
    ),
    "would drop its gradient": (grad_of_int, (2.0,), "tj.stop_gradient"),
    "the array method 'dumps' is not": (lambda x: x.dumps(), (X,), "outside"),
    r"an array as numpy\.matrix is not": (np.asmatrix, (X,), "x @ y"),
    r"a view of float64 as \[\('a'": (
        *(lambda x: x.view([("a", "i8")]), (X,), r"x\.view\(np\.uint8\)"),
    ),
    r"scipy\.special\.softmax is not": (special.softmax, (X,), "tj.scipy.special"),
    "its truth value": (branch, (X[0, 0],), "np.where"),
    "a traced boolean mask has a shape": (
        lambda x, b: x[b],
        (X, B),
        "masked reduction",
    ),
    r"np\.divide\.at at a traced mask": (at_mask, (X, B), r"x\[mask\] = ufunc"),
    "would give the same numbers": (lambda x: x + np.random.rand(), (X,), "tj.random"),
    "the ufunc 'det'": (np.linalg._umath_linalg.det, (X[:, :2],), "outside"),
    "where= without out=": (lambda x, b: np.add(x, 1, where=b), (X, B), "out="),
    "has no derivative": (callback_without_derivative, (X,), "custom_jvp"),
    "mask beside other indices": (mask_beside, (X, B), "index first"),
    "depends on how many are true": (assigned_through_mask, (X, B), "np.where"),
    "of Python objects": (np.frompyfunc(abs, 1, 1), (X,), "tj.callback.pure"),
    "an array that is not traced": (written_outside, (X,), "np.zeros"),
    r"np\.polymul is of another length": (np.polymul, (X[0], X[1]), "slices"),
    r"numpy\.save is not traced": (lambda x: np.save("/dev/null", x), (X,), "return"),
    r"np\.nonzero of a traced bool": (np.where, (B,), "size=n"),
    "setting the shape": (shape_set, (X,), r"x\.reshape"),
    r"np\.compress by a traced": (
        lambda x, b: np.compress(b[0], x, 1),
        (X, B),
        "np.where",
    ),
    r"np\.linalg\.qr with mode='raw'": (
        *(lambda x: np.linalg.qr(x, "raw"), (X,), "mode='reduced'"),
    ),
    r"np\.unique_all of a traced": (np.unique_all, (X,), "size=n"),
    r"np\.union1d of traced values": (np.union1d, (I, I), r"np\.isin"),
    r"np\.repeat by traced counts": (np.repeat, (X[0], I), "Python int"),
    r"np\.bincount without minlength=": (np.bincount, (I,), "minlength="),
    "bins='auto' of histograms": (
        *(lambda x: np.histogram(x, "auto"), (X,), "number of bins"),
    ),
    r"numpy\.delete of these arguments": (
        *(lambda x, i: np.delete(x, slice(i[0], 3)), (X[0], I), "static_argnames"),
    ),
    "the ufunc 'always_error' is not": (always_error, (X, X), "outside"),
    r"np\.einsum of .*, which NumPy": (
        *(lambda x: np.einsum("ij->i", x.astype(float8_e5m2)), (X,), "float32"),
    ),
    r"np\.frombuffer is not traced": (lambda x: np.frombuffer(x), (X,), "x.view"),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("says", PLACES)
def test_places(says):
    f, args, hint = PLACES[says]

    def user(*args):
        return f(*args)

    text = refused(user, *[x.copy() if np.ndim(x) else x for x in args])
    check(text, says, hint, Path(__file__).name)


RAISED = ("UnsupportedError", "ConcretizationError", "unsupported")


def text_of(node):
    """The message of an error as the source has it, a star for each value."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(v) for v in node.values)
    return "*"


def places():
    """Message templates of all errors of these kinds in the source of tracing."""
    for path in sorted(Path(tracing.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name in RAISED:
                end = " is not traced" if name == "unsupported" else ""
                yield path.name, text_of(node.args[0]) + end


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_every_place_has_a_call():
    messages = []
    for f, args, _ in PLACES.values():
        copies = [x.copy() if np.ndim(x) else x for x in args]
        messages.append(refused(lambda *xs, f=f: f(*xs), *copies).split("\n  at ")[0])
    missing = []
    for file, template in places():
        pattern = ".*".join(map(re.escape, template.split("*")))
        if template in ("* is not traced", "*"):  # `what` is put together before
            continue
        if not any(re.fullmatch(pattern, m, re.DOTALL) for m in messages):
            missing.append((file, template))
    assert not missing
