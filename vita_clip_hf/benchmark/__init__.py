"""`vita-clip benchmark`: how fast the model is beside CLIP, X-CLIP and the plain equations, measured in turns."""

from .run import run_benchmark
from .settings import BenchmarkSettings

__all__ = ["BenchmarkSettings", "run_benchmark"]
