"""What shows a network to a person: pages, sheets, and where maps lie."""
