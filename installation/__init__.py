"""Portraits of imaginary people on a wall: a GAN's latent space walked in real time, through a cascade, full-screen."""
