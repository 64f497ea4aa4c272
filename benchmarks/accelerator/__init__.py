"""Figures of training at full size on an accelerator."""
