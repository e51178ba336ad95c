"""Triton text to machine code, without a GPU: PTX and a cubin, or AMD's of both.

Needs Triton, which only this module imports, when it is called: 3.6 or newer. The text
becomes a module by way of `linecache`, where Triton looks for the source of a function;
no file is written. Multiply-adds are never contracted: the graph says where one is.
"""

import contextlib
import hashlib
import io
import linecache
import os
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InternalError, TracejitError
from .code import TritonCode

if TYPE_CHECKING:
    from triton.runtime.jit import JITFunction

CUDA, AMD = "cuda", "amd"
_PARTS = {CUDA: ("ptx", "cubin"), AMD: ("amdgcn", "hsaco")}
_CUDA_ARCH = re.compile(r"sm_(\d+)a?$")
_AMD_ARCH = re.compile(r"gfx[0-9a-f]{3,4}$")
_AMD_USAGE = re.compile(r"\.(vgpr_count|private_segment_fixed_size): *(\d+)")
_USAGE = re.compile(r"(REG|STACK|SHARED|LOCAL):(\d+)")
_ALIGNMENT = 16  # bytes; what vector loads need, and every allocator gives


@dataclass(frozen=True)
class Facts:
    """What a compiled kernel takes of a multiprocessor.

    Parameters
    ----------
    shared : int
        Bytes of shared memory.
    num_warps : int
        Warps of a program; Triton may have raised them.
    registers : int or None
        For each thread; None where they were not counted, or Triton has no
        ``cuobjdump``.
    spilled : int or None
        Bytes of local memory of each thread; likewise.
    """

    shared: int
    num_warps: int
    registers: int | None
    spilled: int | None


@dataclass(frozen=True)
class Built:
    """A compiled kernel.

    Parameters
    ----------
    name : str
        Of the entry.
    ptx : str
        Assembly: PTX, or AMD's.
    cubin : bytes
        What is loaded.
    facts : Facts
    global_scratch : int
        Bytes that each program needs of memory that the launcher passes.
    """

    name: str
    ptx: str
    cubin: bytes
    facts: Facts
    global_scratch: int


def build(
    code: TritonCode,
    arch: str = "sm_90",
    aligned: Collection[str] | None = None,
    measured: bool = True,
) -> Built:
    """Compile one Triton kernel.

    Parameters
    ----------
    code : TritonCode
    arch : str
        ``sm_80``, ``sm_90``, ..., or ``gfx942`` and other names of AMD's.
    aligned : collection of str, optional
        The pointer arguments that are multiples of 16 bytes; all by default.
    measured : bool
        Whether registers and spills are counted, which takes some milliseconds.

    Raises
    ------
    TracejitError
        If Triton is missing, or `arch` names no architecture.
    InternalError
        If Triton or ptxas refuses the text.
    """
    kind = check_arch(arch)
    _need_triton()
    import triton  # noqa: PLC0415
    from triton.backends.compiler import GPUTarget  # noqa: PLC0415
    from triton.compiler import ASTSource  # noqa: PLC0415

    wanted = code.pointers if aligned is None else aligned
    attributes = {
        (position,): [["tt.divisibility", _ALIGNMENT]]
        for position, name in enumerate(code.pointers)
        if name in wanted
    }
    source = ASTSource(
        jit_function(code), code.signature, dict(code.constexprs), attributes
    )
    options = {
        "num_warps": code.num_warps,
        "num_stages": code.num_stages,
        "enable_fp_fusion": False,
        # Subnormals are honoured; a Triton that lacks this flushes them in libdevice.
        "enable_reflect_ftz": False,
    }
    target = (
        GPUTarget("cuda", capability_of(arch), 32)
        if kind == CUDA
        else GPUTarget("hip", arch, 64)
    )
    with _complaints(code):
        compiled = triton.compile(source, target=target, options=options)
    text, binary = (compiled.asm[part] for part in _PARTS[kind])
    usage: tuple[int | None, int | None] = None, None
    if measured:
        usage = _usage(bytes(binary)) if kind == CUDA else _amd_usage(text)
    meta = compiled.metadata
    facts = Facts(meta.shared, meta.num_warps, *usage)
    scratch = getattr(meta, "global_scratch_size", 0) or 0
    return Built(meta.name, text, bytes(binary), facts, scratch)


def check_arch(arch: str) -> str:
    """Return whose an architecture is: `CUDA` or `AMD`.

    Raises
    ------
    TracejitError
        If it is none.

    Examples
    --------
    >>> check_arch("sm_90"), check_arch("gfx942")
    ('cuda', 'amd')
    """
    if _AMD_ARCH.match(arch):
        return AMD
    capability_of(arch)
    return CUDA


def capability_of(arch: str) -> int:
    """Return the number of a CUDA architecture: 90 for ``sm_90``."""
    match = _CUDA_ARCH.match(arch)
    if match is None:
        raise TracejitError(
            f"{arch!r} is no GPU architecture", hint="sm_80, sm_90, sm_100 or gfx942"
        )
    return int(match[1])


def _need_triton() -> None:
    try:
        import triton  # noqa: F401, PLC0415
    except ImportError as error:
        raise TracejitError(
            "compiling GPU kernels needs Triton, which is not installed here",
            hint="pip install 'tracejit[gpu]' (Linux)",
        ) from error


def jit_function(code: TritonCode) -> "JITFunction":
    """Return the function of a kernel for Triton's compiler.

    The name of its module is a hash of the text, so that Triton's own cache finds it
    again.

    Raises
    ------
    TracejitError
        If Triton was imported for its interpreter.
    """
    from triton.runtime.jit import JITFunction  # noqa: PLC0415

    function = module_of(code)[code.name]
    if not isinstance(function, JITFunction):
        raise TracejitError(
            "kernels are interpreted by Triton in this process, not compiled",
            hint="unset TRITON_INTERPRET before Triton is imported",
        )
    return function


def module_of(code: TritonCode) -> dict[str, object]:
    """Return what the source of a kernel defines, by name."""
    key = hashlib.sha256(code.source.encode()).hexdigest()[:16]
    name = f"<tracejit {key}>"
    lines = code.source.splitlines(keepends=True)
    linecache.cache[name] = (len(code.source), None, lines, name)
    found: dict[str, object] = {"__name__": f"tracejit_{key}"}
    exec(compile(code.source, name, "exec"), found)
    return found


@contextlib.contextmanager
def _complaints(code: TritonCode) -> Iterator[None]:
    """Turn what Triton raises and prints into an error that shows the kernel."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    except Exception as error:
        text = f"{code.source}{said.getvalue()}"
        message = f"kernel {code.name} is refused by Triton: {error}\n{text}"
        raise InternalError(message) from error


def _usage(cubin: bytes) -> tuple[int | None, int | None]:
    """Return registers and bytes of local memory of each thread."""
    text = _shown(cubin, "cuobjdump", "-res-usage")
    found = {key: int(n) for key, n in _USAGE.findall(text)}
    if "REG" not in found:
        return None, None
    return found["REG"], found.get("STACK", 0) + found.get("LOCAL", 0)


def _amd_usage(text: str) -> tuple[int | None, int | None]:
    """Return the same of AMD's assembly."""
    found = {key: int(n) for key, n in _AMD_USAGE.findall(text)}
    return found.get("vgpr_count"), found.get("private_segment_fixed_size")


def sass_of(cubin: bytes) -> str:
    """Return the instructions in a cubin; empty where Triton has no ``nvdisasm``."""
    return _shown(cubin, "nvdisasm", "-c")


def _shown(cubin: bytes, tool: str, option: str) -> str:
    """Return what one of the tools that come with Triton says of a cubin."""
    from triton import backends  # noqa: PLC0415

    path = Path(backends.__path__[0]) / "nvidia" / "bin" / tool
    if not path.exists():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        done = subprocess.run(
            [os.fspath(path), option, os.fspath(file)],
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stdout + done.stderr
