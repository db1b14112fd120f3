"""
Programs written for pyinotify, unchanged, on the façade and a Python that pyinotify does not run on.

    python -m tests.facade.programs [--python 3.13] [NAME…]

Each comes from where its users get it, at a fixed version, and does its job on real files.
"""
