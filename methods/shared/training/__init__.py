"""What training loops share: steps and their state, PDN, distillation."""
