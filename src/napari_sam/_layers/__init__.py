"""napari layers <-> values: the only translation of coordinates and labels.

``planes``: which plane is in view; ``prompts``: points and boxes; ``preview``: masks not yet kept;
``output``: the Labels layer; ``binding``: keeps the layers of one dock and its session in step.
"""
