"""Programs with two faults, of two rooms: neither hides the other, and both must be named."""

from __future__ import annotations

from benchmarks.doctor.catalogue import pair

for first, second in (
    ("masks_in_another_order", "sgd_with_a_tiny_rate"),
    ("masks_of_other_images", "enormous_weight_decay"),
    ("masks_transposed", "pixels_left_at_255"),
    ("masks_upside_down", "adadelta_with_a_tiny_rate"),
    ("validation_is_part_of_training", "divided_twice"),
    ("validation_is_part_of_training", "the_head_is_frozen"),
    ("not_a_number_in_images", "activation_layer_after_an_activation"),
    ("classes_count_from_one", "adam_at_a_billionth"),
    ("one_class_too_many", "pixels_left_at_255"),
    ("void_not_ignored", "pixels_left_at_255"),
    ("void_not_ignored", "adadelta_with_a_tiny_rate"),
    ("masks_hold_255", "divided_twice"),
    ("masks_hold_255", "random_layers_frozen"),
    ("masks_resized_linearly", "adam_at_one"),
    ("last_class_never_seen", "divided_and_rescaled"),
    ("pixels_left_at_255", "activation_and_from_logits"),
    ("pixels_left_at_255", "validation_is_part_of_training"),
    ("divided_twice", "activation_layer_after_an_activation"),
    ("only_the_image_moves", "relu_before_a_logits_loss"),
    ("only_the_image_moves", "sgd_with_a_tiny_rate"),
    ("validation_not_scaled", "softmax_over_the_rows"),
    ("validation_standardized_otherwise", "enormous_weight_decay"),
    ("activation_and_from_logits", "adadelta_with_a_tiny_rate"),
    ("no_activation_for_probabilities", "validation_not_scaled"),
    ("relu_before_a_logits_loss", "random_layers_frozen"),
    ("mean_iou_of_probabilities", "sgd_with_a_tiny_rate"),
    ("default_mean_iou_of_a_sigmoid", "divided_twice"),
    ("dice_of_a_threshold", "masks_transposed"),
    ("dice_of_a_threshold", "validation_is_part_of_training"),
    ("weights_the_wrong_way_round", "the_head_is_frozen"),
):
    pair(first, second)
