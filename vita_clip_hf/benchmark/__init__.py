"""`vita-clip benchmark`: how fast the model is beside CLIP, X-CLIP and the plain equations, measured in turns."""

from ..lazy_names import lazy_names

__all__ = ["BenchmarkSettings", "run_benchmark"]
__getattr__, __dir__ = lazy_names(__name__, {"run": ("run_benchmark",), "settings": ("BenchmarkSettings",)})
