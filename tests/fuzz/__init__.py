"""Random calls of every public callable: no crash, no hang, no exception of another kind, no silent NaN.

``python tests/fuzz/run.py --seconds 600`` runs them; ``tests/test_fuzz.py`` a few of fixed seeds.
"""
