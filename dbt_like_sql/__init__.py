"""SQL models, one file each."""
