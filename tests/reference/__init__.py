"""Slow and obvious NumPy references, one module per component of the core."""
