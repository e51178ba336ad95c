"""What a run of the demo found, as rows of a table."""

from dataclasses import dataclass, field

from .levels import Level

GOAL = 0.97
CONV_GOAL = 0.98


@dataclass(frozen=True)
class Summary:
    """The numbers of one run.

    Parameters
    ----------
    stages : dict of str to float
        Seconds in each stage of compiling the step.
    equations, kernels, compiles : int
        Of the traced graph; of the program; how often the step compiled in training.
    steps : int
        Steps trained.
    jitted_ms, numpy_ms : float
        Milliseconds a step, jitted and in plain NumPy.
    difference : float
        Largest difference of a parameter between the two after one step.
    train_seconds, accuracy : float
        Of the whole training; on the test images, 0 to 1.
    """

    stages: dict[str, float]
    equations: int
    kernels: int
    compiles: int
    steps: int
    jitted_ms: float
    numpy_ms: float
    difference: float
    train_seconds: float
    accuracy: float

    def reaches_goal(self) -> bool:
        """Tell whether the test accuracy is what the demo promises."""
        return self.accuracy >= GOAL

    def compile_rows(self) -> list[tuple[str, str]]:
        """Stage and time; their sum last."""
        rows = [(name, f"{1e3 * s:.1f} ms") for name, s in self.stages.items()]
        return [*rows, ("total", f"{1e3 * sum(self.stages.values()):.1f} ms")]

    def result_rows(self) -> list[tuple[str, str]]:
        """Everything but the stages."""
        return [
            ("graph", f"{self.equations} equations"),
            ("kernels", str(self.kernels)),
            ("compiled in training", f"{self.compiles} times in {self.steps} steps"),
            ("training", f"{self.train_seconds:.2f} s"),
            ("step, jitted", f"{self.jitted_ms:.3f} ms"),
            ("step, plain NumPy", f"{self.numpy_ms:.3f} ms"),
            ("jitted against NumPy", f"{self.numpy_ms / self.jitted_ms:.2f}x as fast"),
            ("largest difference in one step", f"{self.difference:.1e}"),
            ("test accuracy", f"{self.accuracy:.2%} (goal {GOAL:.0%})"),
        ]


@dataclass(frozen=True)
class KernelRow:
    """One kernel: its name, what it is, the user's lines, operations and bytes."""

    name: str
    what: str
    lines: tuple[str, ...]
    flops: float
    bytes_moved: int

    def cells(self) -> tuple[str, ...]:
        """Return what a table shows."""
        lines = ", ".join(self.lines[:2]) + (", ..." if len(self.lines) > 2 else "")
        size = f"{self.bytes_moved / 1024:,.1f} KiB"
        return self.name, self.what, lines, f"{self.flops / 1e6:,.3f}", size


@dataclass(frozen=True)
class ConvSummary:
    """The numbers of the convolutional network.

    Parameters
    ----------
    kernels : list of KernelRow
    compile_seconds, train_seconds : float
    steps : int
    jitted_ms, eager_ms : float
        Milliseconds a step, jitted and with the same functions running in NumPy.
    difference : float
        Largest difference of a parameter between the two after one step.
    accuracy : float
        On the test images, 0 to 1.
    source : str
        The Python text of the step, with the numbers of its lines.
    levels : list of Level
        The files of the report.
    """

    kernels: list[KernelRow]
    compile_seconds: float
    steps: int
    jitted_ms: float
    eager_ms: float
    difference: float
    train_seconds: float
    accuracy: float
    source: str = ""
    levels: list[Level] = field(default_factory=list)

    def reaches_goal(self) -> bool:
        """Tell whether the test accuracy is what the demo promises."""
        return self.accuracy >= CONV_GOAL

    def result_rows(self) -> list[tuple[str, str]]:
        """Names and values."""
        flops = sum(k.flops for k in self.kernels)
        moved = sum(k.bytes_moved for k in self.kernels)
        return [
            ("kernels", f"{len(self.kernels)}"),
            ("compile time", f"{1e3 * self.compile_seconds:.1f} ms"),
            ("training", f"{self.train_seconds:.2f} s, {self.steps} steps"),
            ("operations a step", f"{flops / 1e6:,.1f} M"),
            ("bytes a step, at least", f"{moved / 1e6:,.1f} MB"),
            ("step, jitted", f"{self.jitted_ms:.3f} ms"),
            ("step, run in NumPy", f"{self.eager_ms:.3f} ms"),
            ("rate", f"{flops / self.jitted_ms / 1e6:,.1f} GFLOP/s"),
            ("largest difference in one step", f"{self.difference:.1e}"),
            ("test accuracy", f"{self.accuracy:.2%} (goal {CONV_GOAL:.0%})"),
        ]
