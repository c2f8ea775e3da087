"""Side-by-side runs against peers: ``python -m benchmarks``. See README.md beside this file."""
