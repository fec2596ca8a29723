"""Whether a machine is fit for a sweep: what it has, what it computes, and how each thing is mended."""
