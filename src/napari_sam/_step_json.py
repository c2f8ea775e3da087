"""Steps as JSON values: only what came after; what was before is known from the steps before.

Knows steps, records and prompts; knows no files.
"""

from collections.abc import Mapping
from typing import Any

from napari_sam._annotated import ObjectRecord
from napari_sam._covered import Covered
from napari_sam._history import Draft, Step
from napari_sam._kinds import NO_KINDS, Kinds
from napari_sam._label_edit import edit_from_json, edit_to_json
from napari_sam._prompt_set import prompts_from_json, prompts_to_json


def step_to_json(step: Step) -> dict[str, Any]:
    """A step as JSON values."""
    value: dict[str, Any] = {"name": step.name}
    if step.draft[0] != step.draft[1]:
        after = step.draft[1]
        value["draft"] = {"prompts": prompts_to_json(after.prompts), "opened": after.opened}
    if step.objects:
        value["objects"] = {
            str(number): None if after is None else _record_to_json(after)
            for number, (_, after) in step.objects.items()
        }
    if step.edit:
        value["edit"] = edit_to_json(step.edit)
    if step.details:
        value["details"] = dict(step.details)
    if step.kinds is not None:
        value["kinds"] = dict(step.kinds[1])
    return value


def step_from_json(
    value: Mapping[str, Any],
    draft: Draft,
    objects: Mapping[int, ObjectRecord],
    kinds: Kinds = NO_KINDS,
) -> Step:
    """What :func:`step_to_json` gave; draft, objects and classes as they were before the step."""
    after = draft
    if "draft" in value:
        said = value["draft"]
        after = Draft(prompts_from_json(said["prompts"]), said["opened"])
    records = {
        int(number): (
            objects.get(int(number)),
            None if record is None else _record_from_json(int(number), record),
        )
        for number, record in value.get("objects", {}).items()
    }
    edit = edit_from_json(value.get("edit", []))
    classes = (kinds, value["kinds"]) if "kinds" in value else None
    return Step(value["name"], (draft, after), records, edit, value.get("details", {}), classes)


def _record_to_json(record: ObjectRecord) -> dict[str, Any]:
    plain = {key: value for key, value in vars(record).items() if key != "number"}
    plain |= {"prompts": prompts_to_json(record.prompts)}
    if record.covered is not None:
        return {**plain, "covered": record.covered.to_json()}
    plain.pop("covered")
    return plain


def _record_from_json(number: int, value: Mapping[str, Any]) -> ObjectRecord:
    known = {
        **value,
        "region": tuple(tuple(pair) for pair in value["region"]),
        "axes": tuple(value["axes"]),
        "prompts": prompts_from_json(value["prompts"]),
    }
    if "covered" in value:
        known["covered"] = Covered.from_json(value["covered"])
    return ObjectRecord(number, **known)
