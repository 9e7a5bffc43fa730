"""OBS, and what moxing does with it: the parts of `moxing_shim`."""
