"""From a place on the walk to a latent: which keyframes, in which mixture."""
