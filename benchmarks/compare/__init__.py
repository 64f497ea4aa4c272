"""Speed of two source trees, side by side."""
