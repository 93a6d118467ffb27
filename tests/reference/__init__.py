"""Slow and obvious NumPy references, one module per room of the core."""
