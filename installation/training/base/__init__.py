"""Training the base generator: a StyleGAN2-family network that draws portraits from nothing."""
