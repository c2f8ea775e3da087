"""THROUGH TIME: labels of single frames -> tracks, divisions and a lineage; numpy, no GUI."""
