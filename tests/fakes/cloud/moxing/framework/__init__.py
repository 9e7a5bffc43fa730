"""moxing's package path is moxing.framework.file."""
