"""What a machine supplies: session config, optimizer wrapping, ranks."""
