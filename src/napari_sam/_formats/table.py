"""What is known of objects as JSON values, for formats that have a place for notes only."""

from collections.abc import Mapping
from typing import Any

from napari_sam._covered import Covered
from napari_sam._formats.object_set import Facts, ObjectSet

OBJECTS, KINDS, COVERED = "objects", "classes", "covered"


def table_of(objects: ObjectSet) -> dict[str, Any]:
    """Provenance, classes, objects, and what others lie on."""
    return {
        **objects.provenance,
        "image": objects.image,
        KINDS: [{"name": name, "colour": colour} for name, colour in objects.kinds.items()],
        OBJECTS: [
            {"id": number, "class": one.kind, "score": one.score, "reviewed": one.reviewed}
            for number, one in sorted(objects.facts.items())
        ],
        COVERED: {str(number): one.to_json() for number, one in objects.covered.items()},
    }


def read_table(value: Any) -> dict[str, Any]:
    """Attributes of the :class:`ObjectSet` of which :func:`table_of` was made; none of others'."""
    if not isinstance(value, Mapping) or OBJECTS not in value:
        return {}
    known = {"image", KINDS, OBJECTS, COVERED}
    return {
        "facts": {
            int(one["id"]): Facts(str(one["class"]), one["score"], bool(one["reviewed"]))
            for one in value[OBJECTS]
        },
        "covered": {int(n): Covered.from_json(one) for n, one in value.get(COVERED, {}).items()},
        "kinds": {one["name"]: one["colour"] for one in value.get(KINDS, ())},
        "image": value.get("image", ""),
        "provenance": {key: said for key, said in value.items() if key not in known},
    }
