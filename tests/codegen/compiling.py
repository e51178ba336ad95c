"""Compile LLVM text for tests of the text layer, with nothing but llvmlite."""

from functools import cache
from itertools import count

import llvmlite.binding as llvm

from tracejit.codegen.llvm.target import Target

_names = count()


@cache
def _jit(target: Target) -> llvm.LLJIT:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(machine(target))


def machine(target: Target) -> llvm.TargetMachine:
    """Return a code generator as the runtime uses: level 2, position independent."""
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )


def compile_text(text: str, target: Target) -> llvm.ResourceTracker:
    """Verify and compile a module; keep the result as long as the code is used."""
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.JITLibraryBuilder().add_ir(str(module)).add_current_process()
    for line in text.splitlines():
        if line.startswith("define ") and not line.startswith("define internal"):
            builder.export_symbol(line.split("@", 1)[1].split("(", 1)[0])
    return builder.link(_jit(target), f"library{next(_names)}")


def address_of(library: llvm.ResourceTracker, symbol: str) -> int:
    """Return the address of an exported function."""
    address: int = library[symbol]
    return address
