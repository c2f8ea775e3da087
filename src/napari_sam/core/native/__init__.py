"""Products and norms of a CPU's widest instructions, where a C++ compiler can make them.

Optional: nothing else changes without them but time. ``library.py`` makes the shared library from
the C++ files here, once for a machine; ``attention.py`` and ``rows.py`` are its only callers.
"""
