"""Says what Ascend's ATC would stumble over in any frozen graph."""
