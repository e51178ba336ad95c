"""The one-way arrows between the parts of tracejit, read off the source.

The order is config, errors, log → ir → transforms → kernels → program → passes →
codegen → runtime → stages, api → cli, debug, nn, numpy, random, scipy, testing, the
package itself: a module imports from its own level and from lower ones. Kernels stand
below programs because the steps of a program refer to kernels; passes stand above both
because fusion asks the index maps of kernels what can be one loop nest. The front end
(tracing) stands beside that line: it sees the graph and its transformations, and
only the API and what is above it see them.
"""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tracejit

LEVELS = {
    "_version": 0,
    "collection": 0,
    "config": 0,
    "errors": 0,
    "hashing": 0,
    "late": 0,
    "log": 0,
    "records": 0,
    "ir": 1,
    "transforms": 2,
    "kernels": 3,
    "program": 4,
    "passes": 5,
    "codegen": 6,
    "runtime": 7,
    "lowering": 8,
    "specializations": 8,
    "stages": 8,
    "stored": 8,
    "unused": 8,
    "api": 8,
    "device_call": 8,
    "device_guard": 8,
    "compiled": 8,
    "debugging": 8,
    "retraces": 8,
    "donation": 8,
    "offers": 8,
    "placement": 8,
    "disk": 0,
    "call_plan": 8,
    "guard": 8,
    "native_call": 8,
    "watched_call": 8,
    "__main__": 9,
    "": 9,  # the package itself: public names of all parts
    "callback": 9,
    "cli": 9,
    "debug": 9,
    "nn": 9,
    "numpy": 9,  # the namespace: for arrays on devices too
    "random": 9,  # formulas for the tracer, compiled where no trace runs
    "scipy": 9,
    "testing": 9,
}
FRONT_ENDS = {"tracing"}
FRONT_END_SEES = LEVELS["transforms"]
SEES_FRONT_ENDS = LEVELS["api"]
HOMES = {  # a third-party package → the only parts that import it
    "llvmlite": (
        "tracejit.codegen.llvm.library",
        "tracejit.runtime.cpu.compilers",
        "tracejit.runtime.cpu.engine",
    ),
    "triton": ("tracejit.codegen.triton",),
}
PACKAGE = Path(tracejit.__file__).parent


class Source:
    """The imports of a package: for each module, the modules that it names."""

    def __init__(self, root: Path) -> None:
        self.name = root.name
        self.paths = {self._module(root, path): path for path in root.rglob("*.py")}
        self.imports = {name: self._imports(name) for name in self.paths}

    @staticmethod
    def _module(root: Path, path: Path) -> str:
        parts = path.relative_to(root.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _imports(self, module: str) -> dict[str, bool]:
        """Return what a module imports → whether it does so at run time."""
        found: dict[str, bool] = {}
        tree = ast.parse(self.paths[module].read_text(encoding="utf-8"))
        for node, at_run_time in walk(tree, at_run_time=True):
            for target in self._targets(module, node):
                found[target] = found.get(target, False) or at_run_time
        return found

    def _targets(self, module: str, node: ast.AST) -> list[str]:
        if isinstance(node, ast.Import):
            return [self._known(alias.name) for alias in node.names]
        if not isinstance(node, ast.ImportFrom):
            return []
        base = self._base(module, node)
        return [self._known(f"{base}.{alias.name}") for alias in node.names]

    def _base(self, module: str, node: ast.ImportFrom) -> str:
        """Return the absolute name of what stands after ``from``."""
        parts = module.split(".")
        is_package = self.paths[module].name == "__init__.py"
        keep = len(parts) - node.level + is_package
        above = parts[:keep] if node.level else []
        return ".".join([*above, *([node.module] if node.module else [])])

    def _known(self, name: str) -> str:
        """Cut a name of a module's content back to the module."""
        while name not in self.paths and name.startswith(f"{self.name}."):
            name = name.rpartition(".")[0]
        return name

    def inner(self, *, at_run_time: bool = False) -> dict[str, set[str]]:
        """Return the imports that stay within the package."""
        return {
            module: {
                target
                for target, runs in targets.items()
                if target in self.paths and (runs or not at_run_time)
            }
            for module, targets in self.imports.items()
        }


def walk(node: ast.AST, *, at_run_time: bool):
    """Yield all nodes below one, and whether they run outside of type checkers."""
    for child in ast.iter_child_nodes(node):
        yield child, at_run_time
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.body:
                yield statement, False
            for statement in child.orelse:
                yield from walk(statement, at_run_time=at_run_time)
        else:
            yield from walk(child, at_run_time=at_run_time)


def part(module: str) -> str:
    """Return the name after ``tracejit.``, or nothing for the package itself."""
    return module.split(".")[1] if "." in module else ""


def is_allowed(importer: str, imported: str) -> bool:
    """Tell whether one part may import another."""
    if importer == imported:
        return True
    if importer in FRONT_ENDS:
        return imported in FRONT_ENDS or LEVELS[imported] <= FRONT_END_SEES
    if imported in FRONT_ENDS:
        return LEVELS[importer] >= SEES_FRONT_ENDS
    return LEVELS[importer] >= LEVELS[imported]


def wrong_arrows(source: Source) -> list[str]:
    return [
        f"{module} imports {target}"
        for module, targets in source.inner().items()
        for target in sorted(targets)
        if not is_allowed(part(module), part(target))
    ]


def strays(source: Source) -> list[str]:
    """Return imports of backend libraries outside of their homes."""
    return [
        f"{module} imports {target}"
        for module, targets in source.imports.items()
        for target in targets
        if (homes := HOMES.get(target.split(".")[0])) is not None
        if not any(module == home or module.startswith(home + ".") for home in homes)
    ]


def cycle(source: Source) -> list[str]:
    """Return the modules of one import cycle, imports in functions included.

    Imports for types alone make none.
    """
    edges = {
        module: targets - {module}
        for module, targets in source.inner(at_run_time=True).items()
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def source():
    return Source(PACKAGE)


def test_every_part_has_a_level(source):
    assert {part(module) for module in source.paths} <= {*LEVELS, *FRONT_ENDS}


def test_arrows_point_one_way(source):
    found = wrong_arrows(source)
    assert not found, "\n".join(found)


def test_backend_libraries_stay_at_home(source):
    found = strays(source)
    assert not found, "\n".join(found)


def test_no_module_imports_itself_through_others(source):
    found = cycle(source)
    assert not found, " → ".join(found)


@pytest.fixture
def toy(tmp_path):
    """Make a package of the given files."""

    def make(**texts: str) -> Source:
        root = tmp_path / "tracejit"
        for name, text in {"__init__": "", **texts}.items():
            path = root / f"{name.replace('__of__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Source(root)

    return make


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("ir__of__graph", "from ..passes.fuse import fuse"),
        ("ir__of__graph", "from ..passes import fuse"),
        ("ir__of__graph", "def f():\n    import tracejit.passes.fuse"),
        ("ir__of____init__", "from ..passes.fuse import fuse"),
        ("tracing__of__trace", "from tracejit.passes.fuse import fuse"),
        (
            "config",
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from .passes.fuse import fuse",
        ),
    ],
)
def test_scan_finds_wrong_arrows(toy, importer, text):
    source = toy(passes__of__fuse="def fuse(): ...", **{importer: text})
    module = importer.replace("__of____init__", "").replace("__of__", ".")
    assert wrong_arrows(source) == [f"tracejit.{module} imports tracejit.passes.fuse"]


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("program", "kernels", True),
        ("kernels", "program", False),
        ("kernels", "passes", False),
        ("tracing", "transforms", True),
        ("numpy", "tracing", True),
        ("tracing", "runtime", False),
        ("codegen", "tracing", False),
        ("stages", "tracing", True),
        ("api", "tracing", True),
        ("nn", "random", True),
        ("cli", "", True),
        ("runtime", "", False),
    ],
)
def test_arrows(importer, imported, allowed):
    assert is_allowed(importer, imported) is allowed


def test_scan_finds_stray_backend_libraries(toy):
    source = toy(
        codegen__of__llvm__of__library="import llvmlite.binding",
        passes__of__fuse="from llvmlite import binding",
        codegen__of__triton_like="def f():\n    import triton",
    )
    assert sorted(strays(source)) == [
        "tracejit.codegen.triton_like imports triton",
        "tracejit.passes.fuse imports llvmlite.binding",
    ]


def test_scan_finds_cycles(toy):
    typed = "import typing\nif typing.TYPE_CHECKING:\n    from .a import x"
    assert not cycle(toy(ir__of__a="from .b import y", ir__of__b=typed))
    late = "def f():\n    from .a import x"
    for part in ("ir", "tracing"):
        texts = {f"{part}__of__a": "from .b import y", f"{part}__of__b": late}
        assert {*cycle(toy(**texts))} == {f"tracejit.{part}.a", f"tracejit.{part}.b"}


# What a program that only imports the package, or traces, does without.
LATE = (
    "llvmlite",
    "scipy",
    "triton",
    "rich",
    "click",
    "logging",
    "subprocess",
    "hashlib",
    "json",
    "numpy.random",
    "numpy.polynomial",
    "fractions",
    "string",
    "tracejit.kernels",
    "tracejit.passes",
    "tracejit.program",
    "tracejit.stages",
    "tracejit.native_call",
    "tracejit.codegen.llvm.text",
    "tracejit.codegen.triton",
    "tracejit.runtime.cuda",
    "tracejit.runtime.cpu.engine",
    "tracejit.nn",
    "tracejit.random",
    "tracejit.scipy",
    "tracejit.testing",
)
# The first call on a CPU needs the compiler, but nothing of devices.
NEVER_ON_CPU = ("scipy", "triton", "rich", "click", "logging", "subprocess")
NEVER_ON_CPU += ("tracejit.codegen.triton", "tracejit.runtime.cuda", "numpy.random")
NEVER_ON_CPU += ("tracejit.codegen.llvm.steps.sorting",)

# What only families of programs need: a kernel of elementwise operations has none.
OF_FAMILIES = tuple(
    f"tracejit.{name}"
    for name in (
        "codegen.llvm.contracted",
        "codegen.llvm.contraction",
        "codegen.llvm.conv",
        "codegen.llvm.float8",
        "codegen.llvm.gemm",
        "codegen.llvm.integers",
        "codegen.llvm.staged",
        "codegen.llvm.streams",
        "codegen.llvm.vmath.inverse",
        "codegen.llvm.vmath.logarithm",
        "codegen.llvm.vmath.lookup",
        "codegen.llvm.vmath.special",
        "codegen.llvm.vmath.trigonometric",
        "ir.float8",
        "ir.verify",
        "kernels.interp",
        "kernels.streams",
        "kernels.verify",
        "passes.joins",
        "passes.narrow",
        "passes.powers",
        "passes.sorts",
        "passes.split_complex",
        "passes.turns",
        "passes.windows",
        "program.interp",
        "program.memory",
        "program.verify",
        "runtime.cpu.lapack",
        "runtime.cpu.names",
        "runtime.cpu.ufuncs",
        "runtime.failures",
    )
)


def loaded_after(program: str) -> set[str]:
    """Return the modules that a process has loaded when it has run a program."""
    text = f"{program}\nimport sys\nprint(*sys.modules)"
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_loads_no_compiler():
    found = loaded_after("import tracejit")
    assert "tracejit.tracing.trace" in found
    assert not found.intersection(LATE)


def test_the_first_call_loads_what_a_cpu_needs():
    found = loaded_after(
        "import numpy as np, tracejit as tj\n"
        "assert tj.jit(lambda x: x @ x + 1)(np.eye(3)).sum() == 12"
    )
    assert {"llvmlite", "tracejit.passes", "tracejit.kernels"} <= found
    assert not found.intersection(NEVER_ON_CPU)


def test_a_pointwise_program_loads_no_families():
    found = loaded_after(
        "import numpy as np, tracejit as tj\n"
        "tj.config.set('verify', False)\n"
        "assert tj.jit(lambda x: np.exp(x) * 2)(np.zeros(3)).sum() == 6"
    )
    assert "tracejit.codegen.llvm.vmath.exponential" in found
    assert not found.intersection(OF_FAMILIES)


def test_public_names_are_there_when_they_are_asked_for():
    names = [
        name
        for name in (*tracejit.__all__, *dir(tracejit))
        if not hasattr(tracejit, name)
    ]
    assert not names
    assert set(tracejit.__all__) <= set(dir(tracejit))
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = tracejit.absent
