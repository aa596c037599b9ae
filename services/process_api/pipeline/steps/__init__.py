"""The steps of a pipeline, each with the options that it is written with; `registry` maps the one to the other."""
