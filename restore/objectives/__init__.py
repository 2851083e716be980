"""How something learns: an objective owns its networks and says, phase by phase, what is to become small."""
