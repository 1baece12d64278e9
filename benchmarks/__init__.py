"""Speed and memory of Vita-CLIP beside CLIP, X-CLIP and the plain equations; `python -m benchmarks --help`."""
