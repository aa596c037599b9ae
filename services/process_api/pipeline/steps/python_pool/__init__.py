"""Python functions in processes of their own, for the step `python`."""
