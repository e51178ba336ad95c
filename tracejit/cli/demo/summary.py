"""What a run of the demo found, as rows of a table."""

from dataclasses import dataclass

GOAL = 0.97


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
