"""cuBLASLt that is none: products by NumPy, on the fake driver's memory.

Descriptions are Python objects behind handles, of which every attribute is checked;
each algorithm is one of three, with a workspace that it overwrites.
"""

import ctypes
from ctypes import c_void_p as ptr

import ml_dtypes
import numpy as np

from tracejit.runtime.cuda.cublaslt_library import SIGNATURES

DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
RESULT_BYTES = 96
NOT_SUPPORTED = 15


class FakeCublasLt:
    """The functions of the library, over the memory of a `FakeDriver`.

    Attributes
    ----------
    calls : list of (str, tuple)
    products : list of dict
        What each product was, as it was asked for.
    """

    def __init__(self, fake):
        self.fake, self.calls, self.products, self.failing = fake, [], [], {}
        self.objects = {}
        self.callbacks = {
            name: ctypes.CFUNCTYPE(ctypes.c_int, *types)(self.entry(name))
            for name, types in SIGNATURES.items()
        }
        self.addresses = {
            name: ctypes.cast(callback, ptr).value
            for name, callback in self.callbacks.items()
        }

    def names(self):
        return [name for name, _ in self.calls]

    def entry(self, name):
        def call(*arguments):
            self.calls.append((name, arguments))
            if name in self.failing:
                return self.failing[name]
            try:
                getattr(self, name)(*arguments)
            except BaseException as error:  # must not leave the callback
                self.fake.errors.append(error)
                return 99
            return 0

        return call

    def make(self, out, **about):
        handle = 0x7000 + 16 * len(self.objects)
        self.objects[handle] = about
        ctypes.cast(out, ctypes.POINTER(ctypes.c_uint64))[0] = handle

    def set(self, of, attribute, value, size):
        data = ctypes.string_at(value, size)
        self.objects[of][attribute] = int.from_bytes(data, "little", signed=True)

    def cublasLtCreate(self, out):
        self.make(out)

    def cublasLtMatmulDescCreate(self, out, compute, scale):
        self.make(out, compute=compute, scale=scale)

    def cublasLtMatrixLayoutCreate(self, out, dtype, rows, columns, leading):
        assert leading >= rows  # column-major
        self.make(out, dtype=dtype, rows=rows, columns=columns, leading=leading)

    def cublasLtMatmulPreferenceCreate(self, out):
        self.make(out)

    cublasLtMatmulDescSetAttribute = set
    cublasLtMatrixLayoutSetAttribute = set
    cublasLtMatmulPreferenceSetAttribute = set

    def cublasLtMatmulAlgoGetHeuristic(
        self, handle, product, a, b, c, d, preference, most, results, count
    ):
        assert self.objects[preference][1] == 32 << 20
        self.alignment = {self.objects[preference][k] for k in (5, 6, 7, 8)}
        for k in range(3):
            base = results + k * RESULT_BYTES
            ctypes.memset(base, 0, RESULT_BYTES)
            ctypes.c_uint64.from_address(base).value = k + 1
            ctypes.c_size_t.from_address(base + 64).value = 256 * k
            unsupported = k == 2
            ctypes.c_int.from_address(base + 72).value = NOT_SUPPORTED * unsupported
        count[0] = 3

    def matrices(self, address, layout):
        """Return a stack of matrices, as one view of the device's memory."""
        m = self.objects[layout]
        dtype = np.dtype(DTYPES[m["dtype"]])
        batch, step = m.get(5, 1), m.get(6, 0)
        last = (batch - 1) * step + (m["columns"] - 1) * m["leading"] + m["rows"]
        memory = self.fake.bytes_at(address, last * dtype.itemsize).view(dtype)
        strides = np.array([step, 1, m["leading"]]) * dtype.itemsize
        shape = batch, m["rows"], m["columns"]
        return np.lib.stride_tricks.as_strided(memory, shape, strides)

    def cublasLtMatmul(self, handle, product, *rest):
        (alpha, a, of_a, b, of_b, beta, c, of_c, d, of_d) = rest[:10]
        algorithm, workspace, size, stream = rest[10:]
        about = self.objects[product]
        scale = ctypes.c_double if about["scale"] == 1 else ctypes.c_float
        assert (scale.from_address(alpha).value, scale.from_address(beta).value) == (
            1,
            0,
        )
        assert (c, of_c) == (d, of_d) and handle in self.objects
        which = ctypes.c_uint64.from_address(algorithm).value
        self.products.append({**about, "algorithm": which, "stream": stream})

        def work(stream):
            x, y, out = (
                self.matrices(p, of) for p, of in ((a, of_a), (b, of_b), (d, of_d))
            )
            x = x.transpose(0, 2, 1) if about.get(3) else x
            y = y.transpose(0, 2, 1) if about.get(4) else y
            wide = np.float64 if x.dtype == np.float64 else np.float32
            out[...] = (x.astype(wide) @ y.astype(wide)).astype(out.dtype)
            self.fake.bytes_at(workspace or 0, size)[...] = 0xEE
            self.fake.time += self.fake.cost(None)

        self.fake.ask(stream, work)
