"""Networks and the files they live in: generators, upscalers, the cascade, checkpoints; those on this machine, and how more come."""
