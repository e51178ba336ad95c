"""cuBLAS and cuSOLVER that are none: SciPy's LAPACK on the fake driver's memory.

Each routine is called by its own address, as native code does, with matrices column by
column at addresses of the fake device; it is recorded, and fails where it touches what
is not allocated.
"""

import ctypes
from ctypes import c_void_p as ptr

import numpy as np
import scipy.linalg as sl

from tracejit.runtime.cuda.libraries import signatures

WORK = 7  # elements each routine asks for, and looks at


class FakeLibraries:
    """The functions of the libraries, over the memory of a `FakeDriver`.

    Attributes
    ----------
    calls : list of (str, tuple)
    stream : dict of str to int
        What each library was told last.
    """

    def __init__(self, fake):
        self.fake, self.calls, self.stream = fake, [], {}
        self.failing = {}  # function → status
        self.refusing = set()  # functions that cannot be recorded
        self.callbacks = {
            name: ctypes.CFUNCTYPE(ctypes.c_int, *types)(self.entry(name))
            for name, types in signatures().items()
        }
        self.addresses = {
            name: ctypes.cast(callback, ptr).value
            for name, callback in self.callbacks.items()
        }

    def entry(self, name):
        def call(*arguments):
            self.calls.append((name, arguments))
            if name in self.failing:
                return self.failing[name]
            try:
                return self.dispatch(name, arguments) or 0
            except BaseException as error:  # must not leave the callback
                self.fake.errors.append(error)
                return 99

        return call

    def names(self):
        """Return the routines that were called, without sizes and streams."""
        quiet = ("Create", "SetStream", "bufferSize", "_v2")
        return [n for n, _ in self.calls if not any(q in n for q in quiet[:3])]

    def dispatch(self, name, arguments):
        if "Create" in name:
            self.fake.give(arguments[0], 0xB1A5 if "blas" in name else 0x501E)
        elif "SetStream" in name:
            self.stream[name[:6]] = arguments[1]
        elif name.endswith("bufferSize"):
            arguments[-1][0] = WORK
        else:
            prefix = "cublas" if name.startswith("cublas") else "cusolverDn"
            assert arguments[0] == (0xB1A5 if prefix == "cublas" else 0x501E)
            stream = self.stream[name[:6]]
            if name in self.refusing and stream in self.fake.recording:
                return 14
            assert prefix == "cublas" or stream not in self.fake.recording
            letter, routine = name[len(prefix)], name[len(prefix) + 1 :]
            self.dtype = np.dtype({"S": "f4", "D": "f8"}[letter])
            work = getattr(self, routine.removesuffix("_v2"))
            rest = arguments[1:]
            self.fake.ask(stream, lambda on: work(*rest))
        return 0

    # Memory

    def array(self, address, shape, dtype=None):
        """Return an array of the device, column by column."""
        dtype = np.dtype(dtype or self.dtype)
        memory = self.fake.bytes_at(address, int(np.prod(shape)) * dtype.itemsize)
        return memory.view(dtype).reshape(shape, order="F")

    def matrix(self, address, m, n, ld):
        assert ld >= m
        return self.array(address, (ld, n))[:m]

    def check_work(self, address, size):
        assert size == WORK
        self.array(address, (size,))[...] = np.nan

    def lapack(self, name, *arrays):
        return sl.get_lapack_funcs((name,), arrays)[0]

    # Routines

    def potrf(self, half, n, a, ld, work, size, info):
        self.check_work(work, size)
        a = self.matrix(a, n, n, ld)
        factor, status = self.lapack("potrf", a)(a, lower=half == 0, clean=0)
        a[...] = factor
        self.array(info, (1,), "i4")[0] = status

    def listed(self, table, count):
        return [int(x) for x in self.array(table, (count,), "i8")]

    def potrfBatched(self, half, n, table, ld, info, count):
        for k, a in enumerate(self.listed(table, count)):
            work = self.fake.allocate(WORK * self.dtype.itemsize, False)
            self.potrf(half, n, a, ld, work, WORK, info + 4 * k)
            matrix = self.matrix(a, n, n, ld)
            other = np.tril_indices(n, -1) if half else np.triu_indices(n, 1)
            matrix[other] = np.nan  # it is a place to work in

    def getrfBatched(self, n, table, ld, pivots, info, count):
        for k, a in enumerate(self.listed(table, count)):
            work = self.fake.allocate(WORK * self.dtype.itemsize, False)
            self.getrf(n, n, a, ld, work, pivots + 4 * n * k, info + 4 * k)

    def getrsBatched(self, operation, n, k, a, lda, pivots, b, ldb, info, count):
        pairs = zip(self.listed(a, count), self.listed(b, count), strict=True)
        unread = self.fake.allocate(4, False)
        for i, (x, y) in enumerate(pairs):
            self.getrs(operation, n, k, x, lda, pivots + 4 * n * i, y, ldb, unread)
        ctypes.c_int.from_address(info).value = 0

    def trsmBatched(self, *arguments):
        *options, a, lda, b, ldb, count = arguments
        pairs = zip(self.listed(a, count), self.listed(b, count), strict=True)
        for x, y in pairs:
            self.trsm(*options, x, lda, y, ldb)

    def getrf(self, m, n, a, ld, work, pivots, info):
        self.check_work(work, WORK)
        a = self.matrix(a, m, n, ld)
        factors, swaps, status = self.lapack("getrf", a)(a)
        a[...] = factors
        self.array(pivots, (min(m, n),), "i4")[...] = swaps + 1
        self.array(info, (1,), "i4")[0] = status

    def getrs(self, operation, n, k, a, lda, pivots, b, ldb, info):
        a, b = self.matrix(a, n, n, lda), self.matrix(b, n, k, ldb)
        swaps = self.array(pivots, (n,), "i4") - 1
        with np.errstate(all="ignore"):
            b[...] = self.lapack("getrs", a, b)(a, swaps, b, trans=operation)[0]
        self.array(info, (1,), "i4")[0] = 0

    def geqrf(self, m, n, a, ld, tau, work, size, info):
        self.check_work(work, size)
        a = self.matrix(a, m, n, ld)
        factors, scales, _, status = self.lapack("geqrf", a)(a)
        a[...] = factors
        self.array(tau, (min(m, n),))[...] = scales
        self.array(info, (1,), "i4")[0] = status

    def orgqr(self, m, n, k, a, ld, tau, work, size, info):
        self.check_work(work, size)
        assert m >= n >= k
        a = self.matrix(a, m, n, ld)
        q, _, status = self.lapack("orgqr", a)(a, self.array(tau, (k,)))
        a[...] = q
        self.array(info, (1,), "i4")[0] = status

    def syevd(self, job, half, n, a, ld, w, work, size, info):
        self.check_work(work, size)
        assert job == 1
        a = self.matrix(a, n, n, ld)
        values, vectors, status = self.lapack("syevd", a)(a, lower=half == 0)
        self.array(w, (n,))[...] = values
        a[...] = vectors
        self.array(info, (1,), "i4")[0] = status

    def gesvd(self, ju, jv, m, n, a, lda, s, u, ldu, vt, ldvt, work, size, rwork, info):
        self.check_work(work, size)
        assert m >= n and rwork is None and ju == jv
        a = self.matrix(a, m, n, lda)
        wants, full = ju != ord("N"), ju == ord("A")
        left, values, right, status = self.lapack("gesvd", a)(
            a, compute_uv=wants, full_matrices=full
        )
        a[...] = np.nan  # it is lost
        self.array(s, (n,))[...] = values
        if wants:
            self.matrix(u, m, m if full else n, ldu)[...] = left
            self.matrix(vt, n, n, ldvt)[...] = right
        self.array(info, (1,), "i4")[0] = status

    def trsm(self, side, half, operation, unit, m, n, alpha, a, lda, b, ldb):
        assert (side, unit) == (1, 0)
        number = ctypes.c_float if self.dtype == "f4" else ctypes.c_double
        scale = number.from_address(alpha).value
        a, b = self.matrix(a, n, n, lda), self.matrix(b, m, n, ldb)
        # X op(A) = B is op(A)ᵀ Xᵀ = Bᵀ
        with np.errstate(all="ignore"):
            x = self.lapack("trtrs", a)(a, b.T, lower=half == 0, trans=1 - operation)[0]
        b[...] = scale * x.T
