"""What a person sees: the mask view and the lab."""
