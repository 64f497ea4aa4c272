"""What is compiled for tests is run once or twice: optimising it takes longer than it saves."""

import os

# Before JAX is imported, which reads them then.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
