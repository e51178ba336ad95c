"""Exit with 0 if the graph in a file gives zeros, as NumPy does."""

import sys
from pathlib import Path

import numpy as np

from tracejit.ir.interp import evaluate
from tracejit.ir.parser import parse_graph

graph = parse_graph(Path(sys.argv[1]).read_text())
x = np.float32([1.1, 2.3, 3.7, 4.9])
found = evaluate(graph, [x, x * x])[0]
sys.exit(f"the residue is {found[0]:.2g}" if found.any() else 0)
