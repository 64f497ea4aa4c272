"""Video files: their frames, sampled as networks need them, and the subtitles in them."""
