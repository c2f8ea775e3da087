"""Hugging Face's keys become official ones; the arrays themselves: ``test_parity_golden.py``."""

from napari_sam.core.hf_keys import is_hugging_face, to_official


def test_mlp_of_any_depth() -> None:
    mlp = "mask_decoder.iou_prediction_head"
    keys = [f"{mlp}.{layer}.weight" for layer in ("proj_in", "layers.0", "layers.1", "proj_out")]
    official = to_official(
        {"shared_image_embedding.positional_embedding": -1}
        | {key: number for number, key in enumerate(keys)}
    )
    assert [official[f"{mlp}.layers.{number}.weight"] for number in range(4)] == [0, 1, 2, 3]


def test_the_second_copy_of_the_random_matrix_is_left_out() -> None:
    official = to_official(
        {
            "shared_image_embedding.positional_embedding": 1,
            "prompt_encoder.shared_embedding.positional_embedding": 2,
        }
    )
    assert official == {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": 1}


def test_official_keys_come_back_as_they_were() -> None:
    state = {"image_encoder.blocks.0.norm1.weight": 1, "mask_decoder.iou_token.weight": 2}
    assert not is_hugging_face(state)
    assert to_official(state) == state


def test_only_known_prefixes_are_renamed() -> None:
    state = {"vision_encoder.neck.conv2.weight": 1, "something.else": 2}
    assert to_official(state) == {"image_encoder.neck.2.weight": 1, "something.else": 2}
