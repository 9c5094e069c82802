"""The upscaling trainer: a stage learns from real crops and from what the previous stage makes, and its critic can rank seeds."""
