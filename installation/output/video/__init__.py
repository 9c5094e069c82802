"""Video: frames in, files out. Presets, the encoder in its own process, closed segments with a manifest, joining."""
