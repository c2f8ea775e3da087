"""One file for each thing that is measured; each has ``run(settings)``, which yields blocks."""

SUITES = ("encoder", "click", "batch", "automatic", "cold", "tiles", "storage", "neighbour")
