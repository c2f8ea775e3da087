"""ONE OBJECT THROUGH A STACK: from key planes through z, t, y or x.

``job.py`` has the door, :func:`~napari_sam.volume.propagation.job.propagate_objects`; what goes in
is in ``params.py`` and ``key_plane.py``, what comes out in ``result.py``.
"""
