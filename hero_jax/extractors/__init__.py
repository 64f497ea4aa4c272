"""Networks that turn frames of video into features."""
