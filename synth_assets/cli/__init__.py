"""The `synth` command: parsing arguments and printing; every decision is made elsewhere."""
