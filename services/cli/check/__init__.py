"""Finds what is wrong or unsafe in settings files: `trelay check` and `trelay schema`."""
