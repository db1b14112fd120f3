"""Tests of the promises R1 to R20 that stand in no other folder, and of the table and the mutants of all."""
