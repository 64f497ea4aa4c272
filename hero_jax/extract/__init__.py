"""Features of video files, written for `data.build`."""
