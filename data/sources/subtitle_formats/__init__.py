"""Readers of the subtitles of one video, a file for each family of formats."""
