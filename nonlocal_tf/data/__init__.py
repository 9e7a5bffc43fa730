"""IDX files, the table of data sets, their download, an epoch's batches."""
