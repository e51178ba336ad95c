"""Runs emitted kernels in Triton's interpreter, on NumPy buffers, without PyTorch.

Triton decides when it is imported whether it interprets, so that this module runs as a
process of its own (`python -m ...interpreter`), which gets kernels on its standard
input. `Interpreter` is the other end. What the interpreter lacks (libdevice), or does
otherwise than a GPU (bfloat16), is put right here.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ROOT = Path(__file__).parents[3]


class Interpreter:
    """A process that interprets kernels."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONWARNINGS": "ignore"},
        )

    def run(self, code, arrays):
        """Run one kernel over its whole grid; return the memory afterwards.

        `arrays` has, for each pointer, an array of one dimension and the position in
        it that is pointed to.
        """
        pickle.dump((code, list(arrays)), self.process.stdin)
        self.process.stdin.flush()
        done, result = pickle.load(self.process.stdout)
        if not done:
            raise AssertionError(f"{result}\n{code.source}")
        return result

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Tensor:
    """The part of a tensor that Triton's interpreter asks for, over an array."""

    def __init__(self, array, first=0):
        self.array, self.dtype, self.shape = array, array.dtype, array.shape
        if "float8" in array.dtype.name:  # bytes, to kernels
            self.dtype = np.dtype(np.uint8)
        self.first = first

    def data_ptr(self):
        start = self.array.__array_interface__["data"][0]
        return start + self.first * self.array.itemsize

    def untyped_storage(self):
        return self

    def cpu(self):
        return self  # the memory is shared: nothing is copied

    def copy_(self, other):
        return self

    def new_empty(self, n, device=None):
        return Tensor(self.array, self.first)

    def set_(self, storage, offset, size, stride):
        return self

    def storage_offset(self):
        return 0

    def size(self):
        return self.array.shape

    def stride(self, axis=None):
        steps = tuple(s // self.array.itemsize for s in self.array.strides)
        return steps if axis is None else steps[axis]

    def element_size(self):
        return self.array.itemsize


def libdevice_functions():
    import math  # noqa: PLC0415

    names = "exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh cbrt rint"
    found = {name: getattr(np, name) for name in [*names.split(), "hypot", "fmod"]}
    found |= {"pow": np.power, "copysign": np.copysign, "nextafter": np.nextafter}
    for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh"):
        found[f"a{name}"] = getattr(np, f"arc{name}")
    found["atan2"] = np.arctan2
    found["erf"] = np.vectorize(math.erf, otypes=[np.float64])
    found["erfc"] = np.vectorize(math.erfc, otypes=[np.float64])
    return found


def repair():
    """Give the interpreter libdevice, bfloat16 that rounds, and products of it."""
    import ml_dtypes  # noqa: PLC0415
    import triton.language as tl  # noqa: PLC0415
    from triton.language.extra import libdevice  # noqa: PLC0415
    from triton.runtime import interpreter  # noqa: PLC0415

    from tracejit.ir.ops.exact_fma import fma  # noqa: PLC0415

    def lifted(function):
        def call(*operands):
            arrays = [x.handle.data for x in operands]
            handle = operands[0].handle
            out = np.asarray(function(*arrays)).astype(arrays[0].dtype)
            shape = np.broadcast_shapes(*(a.shape for a in arrays))
            type_ = next(x.type for x in operands if x.handle.data.shape == shape)
            return tl.tensor(interpreter.TensorHandle(out, handle.dtype), type_)

        return call

    for name, function in libdevice_functions().items():
        setattr(libdevice, name, lifted(function))

    convert = interpreter._convert_float

    def convert_float(data, source, target, rounding):
        if (source, target) == (tl.float32, tl.bfloat16):
            return data.astype(ml_dtypes.bfloat16).view(np.uint16)
        if (source, target) == (tl.bfloat16, tl.float32):
            return data.view(ml_dtypes.bfloat16).astype(np.float32).view(np.uint32)
        return convert(data, source, target, rounding)

    interpreter._convert_float = convert_float
    splat = interpreter.InterpreterBuilder.create_splat

    def create_splat(self, type_, x):
        if x.data.dtype == np.bool_:  # its handle says the type of what was compared
            return interpreter.TensorHandle(np.full(type_.shape, x.data), tl.int1)
        return splat(self, type_, x)

    interpreter.InterpreterBuilder.create_splat = create_splat

    def generic_reduce(self, operands):  # slice by slice, not element by element
        def part(k):
            parts = (np.take(x.handle.data, k, self.axis) for x in operands)
            pairs = zip(parts, operands, strict=True)
            return tuple(self.to_tensor(p, x.dtype) for p, x in pairs)

        state = part(0)
        for k in range(1, operands[0].handle.data.shape[self.axis]):
            found = self.combine_fn.fn(*state, *part(k))
            state = found if isinstance(found, tuple) else (found,)
        if not self.keep_dims:
            return list(state)
        whole = (np.expand_dims(x.handle.data, self.axis) for x in state)
        pairs = zip(whole, operands, strict=True)
        return [self.to_tensor(w, x.dtype) for w, x in pairs]

    interpreter.ReduceOps.generic_reduce = generic_reduce
    dot = interpreter.InterpreterBuilder.create_dot

    def create_dot(self, a, b, *rest):
        wide = [
            self.cast_impl(x, tl.float32) if x.dtype.scalar == tl.bfloat16 else x
            for x in (a, b)
        ]
        return dot(self, *wide, *rest)

    interpreter.InterpreterBuilder.create_dot = create_dot

    def create_fma(self, x, y, z):  # rounds once, as Triton 3.6 does not
        out = fma(x.data, y.data, z.data)
        return interpreter.TensorHandle(out, z.dtype.scalar)

    interpreter.InterpreterBuilder.create_fma = create_fma
    patch = interpreter._patch_lang_tensor

    def patch_tensor(tensor, *scope):  # Triton 3.6 gives `int` an array of one element
        patch(tensor, *scope)
        tensor.__index__ = lambda self: int(self.handle.data.reshape(-1)[0])

    interpreter._patch_lang_tensor = patch_tensor
    patch_lang, patched = interpreter._patch_lang, set()

    def patch_once(function):  # not at each call of each function: a fifth of the time
        seen = function.__globals__.values()
        modules = {m.__name__ for m in (tl, tl.core) if any(x is m for x in seen)}
        if not modules <= patched:
            patch_lang(function)
            patched.update(modules)
        return SimpleNamespace(restore=lambda: None)  # nothing else runs here

    interpreter._patch_lang = patch_once


def interpret(code, arrays):
    from tracejit.codegen.triton.build import module_of  # noqa: PLC0415

    if code.grid:
        function = module_of(code)[code.name]
        with np.errstate(all="ignore"):
            # An address that is a number comes without a place.
            tensors = [
                array if first is None else Tensor(array, first)
                for array, first in arrays
            ]
            function[(code.grid,)](*tensors, **code.constexprs)
    return [array for array, _ in arrays]


def serve():
    import traceback  # noqa: PLC0415

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what Triton prints must not be taken for an answer
    repair()
    while True:
        try:
            code, arrays = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = True, interpret(code, arrays)
        except BaseException:
            answer = False, traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    serve()
