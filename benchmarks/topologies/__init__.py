"""Analysis of the training step for devices that are not here, by their compilers."""
