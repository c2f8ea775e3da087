"""How good: labelled data sets, protocols, baselines and reports."""
