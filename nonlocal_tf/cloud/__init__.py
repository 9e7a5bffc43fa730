"""OBS by its S3 protocol: what `moxing_shim` does there."""
