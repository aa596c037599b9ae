"""The steps that keep state, with a million keys, beside bare loops and Bytewax: `python -m benchmarks.state`."""
