"""The process layer: steps, the pipelines they form, and the stream that runs them."""
