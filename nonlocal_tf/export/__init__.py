"""From a checkpoint to scored results of the device."""
