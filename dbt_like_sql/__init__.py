"""SQL models, one file each: `staging/` reads the tables of the lake, `marts/` answers questions of people."""
