"""Better weights: data, losses and the loop that trained the bundled model."""
