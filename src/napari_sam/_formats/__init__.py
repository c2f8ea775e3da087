"""Labels and their objects in files: one door for all formats, and the value that goes through."""
