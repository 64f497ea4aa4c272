"""What an accelerator is asked about training at full size."""
