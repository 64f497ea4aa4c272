"""Exact retrieval: ranking of clips and of moments in them."""
