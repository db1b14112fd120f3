"""
Log rotation by the real logrotate, under writers that do not wait and an agent that is killed.

    python -m tests.rotation --mode create --sink sqlite --lines 2000000 --kills 50

Writers number their lines; what arrives is compared with what they wrote: every number once, and those of one
writer in their order.
"""
