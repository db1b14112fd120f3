"""
The same small programs against the original and against the façade, compared attribute by attribute.

    python -m tests.facade.differential             the table: scripts × attributes
    python -m tests.facade.differential --python python3.13

`scripts_*.py` are the programs, `scene.py` is what they use, `side.py` runs them on one side, `records.py`
compares what they recorded, `improvements.py` names what may differ and how.
"""
