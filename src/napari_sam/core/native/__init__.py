"""What a CPU's widest instructions do, where a C++ compiler can make it.

Optional: nothing else changes without them but time. ``library.py`` makes the shared library from
the C++ files here, once for a machine; ``attention.py``, ``rows.py`` and
``masks.py`` are its only callers.
"""
