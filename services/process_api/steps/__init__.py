"""The steps of a pipeline, each with the options that it is written with; `build` maps the one to the other."""
