"""Every sink against what it is made for."""
