"""What trained methods share: the training room (`room`), its draws and optimisers, PDN, distillation."""
