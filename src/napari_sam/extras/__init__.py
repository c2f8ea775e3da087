"""Formats and engines that few need: a file each, imported when it is asked for."""
